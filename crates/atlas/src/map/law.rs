//! From TOML to statutes in force and transfer clauses.

use terms::Collection;

use super::parse::{NAME, Names};
use super::{Clause, ClauseId, Statute, digest_text};
use crate::read::{At, File, Section};
use crate::{
    CitizensAbroad, Ingress, StatuteId, StatutePack, Territory, Trigger, UnknownCitizenship,
};

/// What a digest is, in messages.
pub(super) const DIGEST: &str = "sha256: and 64 hexadecimal digits";

/// Reads a statute in force: an id of one of the packs, its digest, and settings.
pub(super) fn statute(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
    packs: &'static [StatutePack],
) -> Option<At<Statute>> {
    section.only(&["id", "digest", "unknown", "citizens_abroad", "ingress", "collections"]);
    let id = section.needed("id", "NAME_INVALID", NAME, StatuteId::parse);
    let stated = section.needed("digest", "VALUE_INVALID", DIGEST, digest);
    let collections = collections(file, section, names);
    let ingress = section.text("ingress").and_then(|text| {
        file.parsed(text, "VALUE_INVALID", "anywhere or in-territory", Ingress::parse)
    });
    let ingress = ingress.map_or(Ingress::Anywhere, |ingress| ingress.it);
    let id = id?;
    let Some(pack) = packs.iter().find(|pack| *pack.id() == id.it) else {
        let all: Vec<&str> = packs.iter().map(|pack| pack.id().as_str()).collect();
        let problem = format!("this program has no statute pack `{}`", id.it);
        file.wrong(id.at, "STATUTE_UNKNOWN", problem, format!("use one of: {}", all.join(", ")));
        return None;
    };
    if let Some(stated) = stated
        && stated.it != *pack.digest()
    {
        let problem = format!("the digest is not that of the pack `{}`", id.it);
        let cure = format!("read the pack, then write {}", digest_text(pack.digest()));
        file.wrong(stated.at, "STATUTE_DIGEST", problem, cure);
    }
    let (unknown, citizens_abroad) = settings(file, section, pack);
    Some(id.with(Statute { pack, unknown, citizens_abroad, ingress, collections }))
}

/// The two settings of a law of citizens. Other laws have none.
fn settings(
    file: &File<'_>,
    section: &Section<'_>,
    pack: &StatutePack,
) -> (UnknownCitizenship, CitizensAbroad) {
    let (unknown, abroad) = (section.text("unknown"), section.text("citizens_abroad"));
    let citizen = pack.trigger() == Trigger::Citizen;
    if citizen && abroad.is_none() {
        let problem = format!("`{}` attaches to citizens and has no `citizens_abroad`", pack.id());
        let cure = "decide it: attach, ignore or refuse; there is no default";
        file.wrong(section.at, "SETTING_MISSING", problem, cure);
    }
    for text in [unknown, abroad].into_iter().flatten().filter(|_| !citizen) {
        let problem = format!("`{}` does not ask for citizenship", pack.id());
        file.wrong(text.at, "SETTING_UNUSED", problem, "leave this setting out");
    }
    let unknown = unknown.and_then(|text| {
        let wanted = "any-hint, territory or never";
        file.parsed(text, "VALUE_INVALID", wanted, UnknownCitizenship::parse)
    });
    let abroad = abroad.and_then(|text| {
        let wanted = "attach, ignore or refuse";
        file.parsed(text, "VALUE_INVALID", wanted, CitizensAbroad::parse)
    });
    // A map without the second is refused above, and for other laws neither has an effect.
    (
        unknown.map_or_else(|| pack.unknown(), |unknown| unknown.it),
        abroad.map_or(CitizensAbroad::Refuse, |abroad| abroad.it),
    )
}

/// The collections that are listed. None: the key is left out, or it says `*`.
fn collections(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
) -> Option<Vec<Collection>> {
    let texts = section.texts("collections")?;
    if let [only] = texts.as_slice()
        && only.it == "*"
    {
        return None;
    }
    if texts.is_empty() {
        let cure = "list collections, or write \"*\"";
        file.wrong(section.at, "VALUE_INVALID", "the list of collections is empty", cure);
    }
    let parse = |text| file.parsed(text, "NAME_INVALID", NAME, |t| Collection::parse(t).ok());
    let listed: Vec<At<Collection>> = texts.into_iter().filter_map(parse).collect();
    let collections = listed.iter().map(|name| name.it.clone()).collect();
    names.collections.extend(listed);
    Some(collections)
}

/// Reads a transfer clause.
pub(super) fn clause(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
) -> Option<At<Clause>> {
    section.only(&[
        "id",
        "from",
        "to",
        "collections",
        "legal_basis",
        "importer",
        "reference",
        "not_before",
        "expires",
    ]);
    let id = section.needed("id", "NAME_INVALID", NAME, ClauseId::parse);
    let wanted = "a country or EEA";
    let from = section.needed("from", "TERRITORY_UNKNOWN", wanted, Territory::parse);
    let to = section.needed("to", "TERRITORY_UNKNOWN", wanted, Territory::parse);
    let listed = section.needed_list("collections");
    let collections = collections(file, section, names);
    let legal_basis = section.needed_text("legal_basis");
    let importer = section.needed_text("importer");
    let reference = section.needed_text("reference");
    let not_before = section.needed_date("not_before");
    let expires = section.needed_date("expires");
    if let (Some(from), Some(to)) = (not_before, expires)
        && to.it <= from.it
    {
        let problem = "this clause ends before it begins";
        file.wrong(to.at, "DATE_ORDER", problem, "let `expires` be later than `not_before`");
    }
    if !listed {
        return None;
    }
    let id = id?;
    Some(At {
        at: id.at,
        it: Clause {
            id: id.it,
            from: from?.it,
            to: to?.it,
            collections,
            legal_basis: legal_basis?.it.to_owned(),
            importer: importer?.it.to_owned(),
            reference: reference?.it.to_owned(),
            not_before: not_before?.it,
            expires: expires?.it,
        },
    })
}

/// The digest that `sha256:` and 64 lower-case hexadecimal digits write.
pub(super) fn digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, left) = text.strip_prefix("sha256:")?.as_bytes().as_chunks::<2>();
    if !left.is_empty() || pairs.len() != 32 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        if pair.iter().any(|c| !matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
