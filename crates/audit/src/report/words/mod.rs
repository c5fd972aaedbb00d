//! Every heading and sentence of the report, in each of its languages.
//!
//! A message is a member of an enum with one text for each language, so one that is missing does
//! not compile. `{0}`, `{1}` … stand for what is filled in.

mod gaps;
mod labels;
mod sentences;

pub use gaps::GapKind;
pub(crate) use labels::Label;
pub(crate) use sentences::Sentence;

use super::input::Language;

/// Something to say.
pub(crate) trait Message: Copy {
    /// Its text in that language, with places to fill.
    fn text(self, language: Language) -> &'static str;
}

/// The message with its places filled.
pub(crate) fn say(message: impl Message, language: Language, values: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = message.text(language);
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((place, after)) = after.split_once('}') else { break };
        let value = place.parse().ok().and_then(|place: usize| values.get(place));
        out.push_str(value.copied().unwrap_or(""));
        rest = after;
    }
    out.push_str(rest);
    out
}

macro_rules! messages {
    ($(#[$doc:meta])* $vis:vis $name:ident {
        $($(#[$key_doc:meta])* $key:ident $en:literal $ru:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name { $($(#[$key_doc])* $key,)* }

        impl $name {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$key),*];
        }

        impl $crate::report::words::Message for $name {
            fn text(self, language: $crate::report::input::Language) -> &'static str {
                use $crate::report::input::Language::{En, Ru};
                match (self, language) {
                    $((Self::$key, En) => $en, (Self::$key, Ru) => $ru,)*
                }
            }
        }
    };
}
use messages;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            text.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn check<M: Message + std::fmt::Debug>(all: &[M]) {
        assert!(!all.is_empty());
        for message in all {
            let (en, ru) = (message.text(Language::En), message.text(Language::Ru));
            assert!(!en.is_empty() && !ru.is_empty(), "{message:?}");
            assert_eq!(places(en), places(ru), "{message:?} fills other places");
            let cyrillic = |c: char| ('\u{400}'..='\u{4ff}').contains(&c);
            assert!(!en.contains(cyrillic), "{message:?} is not English");
            assert!(ru.contains(cyrillic), "{message:?} is not Russian");
            for text in [en, ru] {
                assert!(
                    !text.contains("  ") && text.trim() == text,
                    "{message:?} has stray spaces"
                );
            }
        }
    }

    #[test]
    fn every_message_exists_in_each_language() {
        check(Label::ALL);
        check(Sentence::ALL);
        check(GapKind::ALL);
    }

    #[test]
    fn places_are_filled() {
        let text = say(Sentence::Period, Language::En, &["2026-01-01", "2026-01-31", "x"]);
        assert!(text.contains("2026-01-01") && text.contains("2026-01-31"), "{text}");
        assert!(!text.contains('{'), "{text}");
    }
}
