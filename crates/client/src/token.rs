//! The bearer token that goes with every call. It is never printed.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};

/// Bytes of a token; no gateway reads more.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// How often a token's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What goes into the `authorization` header.
pub(crate) type Bearer = MetadataValue<Ascii>;

/// Why a token cannot be sent. It never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenInvalid {
    /// Empty, too long, or with characters that no token has.
    #[error("is empty, over {TOKEN_BYTES_MAX} bytes, or no token at all")]
    Malformed,
    /// The file cannot be read.
    #[error("cannot be read from {} ({error})", path.display())]
    Unread {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        error: std::io::ErrorKind,
    },
    /// The caller's own source has none.
    #[error("is not there: its source gives none")]
    None,
}

/// Where the bearer token of each call comes from. Its `Debug` says nothing of the token.
#[derive(Clone, Default)]
pub struct Token(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    Fixed(Bearer),
    File(Arc<TokenFile>),
    Given(Arc<dyn Fn() -> Option<String> + Send + Sync>),
}

/// A file, and the last token that was read from it.
struct TokenFile {
    path: PathBuf,
    last: Mutex<(Instant, Bearer)>,
}

impl Token {
    /// No token: the caller is known by its certificate, or to everybody on a loopback listener.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same token for every call.
    ///
    /// # Errors
    /// [`TokenInvalid::Malformed`].
    pub fn fixed(text: &str) -> Result<Self, TokenInvalid> {
        Ok(Self(Source::Fixed(bearer(text)?)))
    }

    /// The token in a file, with or without white space around it. The file is looked at once a
    /// second; while it cannot be read or holds none, the last one stays.
    ///
    /// # Errors
    /// [`TokenInvalid`], when the file holds no token now.
    pub async fn file(path: impl Into<PathBuf>) -> Result<Self, TokenInvalid> {
        let path = path.into();
        let first = read(&path).await?;
        let last = Mutex::new((Instant::now(), first));
        Ok(Self(Source::File(Arc::new(TokenFile { path, last }))))
    }

    /// What `source` gives, asked before every call. It must not block: another task should keep
    /// the token fresh. None ends the call with [`TokenInvalid::None`].
    pub fn given(source: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Source::Given(Arc::new(source)))
    }

    /// The token to send now. None: calls go without.
    pub(crate) async fn current(&self) -> Result<Option<Bearer>, TokenInvalid> {
        match &self.0 {
            Source::None => Ok(None),
            Source::Fixed(bearer) => Ok(Some(bearer.clone())),
            Source::File(file) => Ok(Some(file.current(LOOK_EVERY).await)),
            Source::Given(source) => bearer(&source().ok_or(TokenInvalid::None)?).map(Some),
        }
    }

    /// Another token than `sent`, which was refused, if there is one by now.
    pub(crate) async fn other_than(&self, sent: Option<&Bearer>) -> Option<Bearer> {
        let now = match &self.0 {
            Source::None | Source::Fixed(_) => None,
            Source::File(file) => Some(file.current(Duration::ZERO).await),
            Source::Given(source) => source().and_then(|text| bearer(&text).ok()),
        };
        now.filter(|now| Some(now) != sent)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Source::None => "Token(none)",
            Source::Fixed(_) => "Token(fixed)",
            Source::File(_) => "Token(file)",
            Source::Given(_) => "Token(given)",
        })
    }
}

impl TokenFile {
    /// The token, read again if the last look was longer ago than `age`.
    async fn current(&self, age: Duration) -> Bearer {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0.elapsed() < age {
                return last.1.clone();
            }
            // The next call need not read it again.
            last.0 = Instant::now();
        }
        let new = read(&self.path).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(new) = new {
            last.1 = new;
        }
        last.1.clone()
    }
}

async fn read(path: &PathBuf) -> Result<Bearer, TokenInvalid> {
    let unread =
        |error: std::io::Error| TokenInvalid::Unread { path: path.clone(), error: error.kind() };
    let file = tokio::fs::File::open(path).await.map_err(unread)?;
    let mut bytes = Vec::new();
    // One byte more than a token with its line feed may have, so that a longer one is seen.
    file.take(TOKEN_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).await.map_err(unread)?;
    bearer(str::from_utf8(&bytes).map_err(|_| TokenInvalid::Malformed)?)
}

fn bearer(text: &str) -> Result<Bearer, TokenInvalid> {
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= TOKEN_BYTES_MAX;
    if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenInvalid::Malformed);
    }
    let bearer = Bearer::try_from(format!("Bearer {text}"));
    let mut bearer = bearer.map_err(|_| TokenInvalid::Malformed)?;
    // No `Debug` shows it then, and no proxy keeps it in its table of headers.
    bearer.set_sensitive(true);
    Ok(bearer)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const SECRET: &str = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";

    async fn text(token: &Token) -> String {
        let bearer = token.current().await.unwrap().unwrap();
        bearer.to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn nothing_that_can_be_printed_shows_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), SECRET).unwrap();
        let tokens = [
            Token::fixed(SECRET).unwrap(),
            Token::file(file.path()).await.unwrap(),
            Token::given(|| Some(SECRET.to_owned())),
        ];
        for token in tokens {
            let access = crate::Access { token, ..Default::default() };
            assert_eq!(text(&access.token).await, format!("Bearer {SECRET}"));
            let bearer = access.token.current().await.unwrap();
            assert!(!format!("{access:?} {access:#?} {bearer:?}").contains("eyJ"));
        }
        let bad = Token::fixed("secret secret").unwrap_err();
        assert!(!format!("{bad} {bad:?}").contains("secret"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(Token::file(&path).await, Err(TokenInvalid::Unread { .. })));
        fs::write(&path, " first\n").unwrap();
        let token = Token::file(&path).await.unwrap();
        assert_eq!(text(&token).await, "Bearer first");
        fs::write(&path, "second\n").unwrap();
        assert_eq!(text(&token).await, "Bearer first", "looked at more than once a second");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(text(&token).await, "Bearer second");
        // Gone, or written half: the last one stays.
        fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(text(&token).await, "Bearer second");
        fs::write(&path, "\n").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(text(&token).await, "Bearer second");
        // Once it is refused, it is read again at once.
        let sent = token.current().await.unwrap();
        assert_eq!(token.other_than(sent.as_ref()).await, None);
        fs::write(&path, "third").unwrap();
        let third = token.other_than(sent.as_ref()).await.unwrap();
        assert_eq!(third.to_str().unwrap(), "Bearer third");
    }

    #[tokio::test]
    async fn a_source_is_asked_each_time_and_may_have_none() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let token = Token::given(move || {
            let n = count.fetch_add(1, Ordering::Relaxed);
            (n < 2).then(|| format!("token-{n}"))
        });
        assert_eq!(text(&token).await, "Bearer token-0");
        assert_eq!(text(&token).await, "Bearer token-1");
        assert_eq!(token.current().await, Err(TokenInvalid::None));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        for text in ["", " \n", "a b", "a\nb", "a\u{0}b", "é", &long] {
            assert_eq!(Token::fixed(text).unwrap_err(), TokenInvalid::Malformed);
        }
        assert!(Token::fixed(&long[1..]).is_ok());
    }
}
