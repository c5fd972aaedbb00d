//! PEM files (RFC 7468), read strictly.
//!
//! Common readers skip a block that they cannot find the beginning of: one that shares a line with
//! the block before, that has a space before `-----BEGIN`, or that follows a byte order mark. A
//! revocation list that is skipped revokes nobody. Here every block is read, or the file is
//! refused with the line at fault.
//!
//! Read as what they mean: CRLF, spaces at the ends of lines, text between blocks, and a byte order
//! mark at the very beginning. Everything else is refused.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What some editors write at the beginning of a text.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// The label of a revocation list.
pub const REVOCATION_LIST: &str = "X509 CRL";
/// The labels of private keys that are not encrypted, with what their content is.
const KEYS: &[(&str, KeyForm)] = &[
    ("PRIVATE KEY", KeyForm::Pkcs8),
    ("RSA PRIVATE KEY", KeyForm::Pkcs1),
    ("EC PRIVATE KEY", KeyForm::Sec1),
];
/// What OpenSSL writes before a key of a curve. The key names its curve, too.
const PARAMETERS: &str = "EC PARAMETERS";
const ENCRYPTED: &str = "the private key is encrypted, and a server has nobody to ask for the \
                         passphrase: store it decrypted (`openssl pkey`), with mode 600";
/// Characters of base64 without a block around them from which on a line is taken for a lost one.
const STRAY_CHARACTERS: usize = 40;
/// Characters of a line that [`encode`] writes.
const LINE_CHARACTERS: usize = 64;

/// Why a file is not taken. Nothing of its content is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct PemInvalid {
    /// The line at fault, from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: &'static str,
}

/// One block.
pub struct Block {
    /// What stands after `BEGIN`.
    pub label: String,
    /// The content, decoded.
    pub der: Zeroizing<Vec<u8>>,
    /// Where it begins, from 1.
    pub line: usize,
}

/// The encoding of a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// PKCS #8.
    Pkcs8,
    /// PKCS #1: RSA.
    Pkcs1,
    /// SEC 1: a key of a curve.
    Sec1,
}

/// A block whose end has not been read yet.
struct Open {
    label: String,
    line: usize,
    body: Zeroizing<Vec<u8>>,
}

/// All blocks of a file, in order. There may be none.
///
/// # Errors
/// [`PemInvalid`], for the first line that is neither part of a block nor text between blocks.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, PemInvalid> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let (mut blocks, mut open) = (Vec::new(), None::<Open>);
    for (before, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let (number, line) = (before + 1, line.trim_ascii_end());
        let bad = |why| Err(PemInvalid { line: number, why });
        if line.contains(&0) {
            return bad("this is no text (is the file UTF-16, or DER?)");
        }
        match (open.take(), marker(line)) {
            (None, Some(("BEGIN", label))) => {
                let body = Zeroizing::default();
                open = Some(Open { label: label.to_owned(), line: number, body });
            }
            (None, Some(_)) => return bad("a block ends here that does not begin"),
            (None, None) if is_spoilt(line) => {
                return bad(
                    "-----BEGIN must stand alone on its line, with nothing before or after",
                );
            }
            (None, None) if line.len() >= STRAY_CHARACTERS && is_base64(line) => {
                return bad("this is base64 outside of a block: its -----BEGIN line is lost");
            }
            (None, None) => {}
            (Some(block), Some(("END", label))) if label == block.label => {
                blocks.push(block.close()?);
            }
            (Some(block), Some(_)) => return Err(block.unclosed()),
            (Some(block), None) if is_spoilt(line) => return Err(block.unclosed()),
            (Some(_), None) if line.starts_with(b"Proc-Type:") => return bad(ENCRYPTED),
            (Some(_), None) if !is_base64(line) => {
                return bad("this is no base64");
            }
            (Some(mut block), None) => {
                block.body.extend_from_slice(line);
                open = Some(block);
            }
        }
    }
    match open {
        Some(block) => Err(block.unclosed()),
        None => Ok(blocks),
    }
}

impl Open {
    fn close(self) -> Result<Block, PemInvalid> {
        let Self { label, line, body } = self;
        let der = STANDARD.decode(&*body).ok().filter(|der| !der.is_empty());
        let why = "the block that begins here is damaged: its base64 cannot be decoded";
        let der = Zeroizing::new(der.ok_or(PemInvalid { line, why })?);
        Ok(Block { label, der, line })
    }

    fn unclosed(&self) -> PemInvalid {
        let why = "the block that begins here has no -----END line of its own: it is cut off, or \
                   two blocks share a line";
        PemInvalid { line: self.line, why }
    }
}

impl Block {
    fn wrong(&self, why: &'static str) -> PemInvalid {
        PemInvalid { line: self.line, why }
    }
}

impl std::fmt::Debug for Block {
    /// Without the content: it may be a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("line", &self.line).finish_non_exhaustive()
    }
}

/// The word and the label of a line that begins or ends a block.
fn marker(line: &[u8]) -> Option<(&'static str, &str)> {
    let inner = line.strip_prefix(b"-----")?.strip_suffix(b"-----")?;
    let inner = std::str::from_utf8(inner).ok()?;
    let (word, label) = match inner.split_once(' ')? {
        ("BEGIN", label) => ("BEGIN", label),
        ("END", label) => ("END", label),
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
    let fits = !label.is_empty() && label == label.trim() && label.bytes().all(plain);
    fits.then_some((word, label))
}

/// Whether a line that is no marker seems to have been one.
fn is_spoilt(line: &[u8]) -> bool {
    let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let close: Vec<u8> = line
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(u8::to_ascii_uppercase)
        .collect();
    has(&close, b"--BEGIN") || has(&close, b"--END") || (!is_base64(line) && has(line, b"BEGIN"))
}

/// Whether a line holds nothing but characters of base64.
fn is_base64(line: &[u8]) -> bool {
    line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
}

/// The certificates of a file that holds nothing else.
///
/// # Errors
/// [`PemInvalid`]: also for a block of another kind, and for a file without a certificate.
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PemInvalid> {
    all_of(text, CERTIFICATE, "there is no certificate in PEM")
}

/// The revocation lists of a file that holds nothing else.
///
/// # Errors
/// As [`certificates`].
pub fn revocation_lists(text: &[u8]) -> Result<Vec<Vec<u8>>, PemInvalid> {
    all_of(text, REVOCATION_LIST, "there is no revocation list in PEM")
}

fn all_of(text: &[u8], label: &str, none: &'static str) -> Result<Vec<Vec<u8>>, PemInvalid> {
    let blocks = blocks(text)?;
    if blocks.is_empty() {
        return Err(PemInvalid { line: 1, why: none });
    }
    let only = |block: Block| {
        if block.label == label {
            return Ok(block.der.to_vec());
        }
        let lists = label == REVOCATION_LIST;
        Err(block.wrong(match block.label.as_str() {
            name if name.ends_with("PRIVATE KEY") => {
                "a private key lies in a file that others may read: store it in a file of its own"
            }
            REVOCATION_LIST => "this is a revocation list: name its file as `revoked`",
            CERTIFICATE => "this is a certificate, and only revocation lists are read here",
            _ if lists => "only blocks of `X509 CRL` are read here",
            _ => "only blocks of `CERTIFICATE` are read here",
        }))
    };
    blocks.into_iter().map(only).collect()
}

/// The one private key of a file that holds nothing else.
///
/// # Errors
/// [`PemInvalid`]: also for a key that is encrypted, and for a second one.
pub fn private_key(text: &[u8]) -> Result<(KeyForm, Zeroizing<Vec<u8>>), PemInvalid> {
    let mut key = None;
    for block in blocks(text)? {
        let form = KEYS.iter().find(|(label, _)| *label == block.label).map(|(_, form)| *form);
        match (block.label.as_str(), form) {
            (PARAMETERS, _) => {}
            ("ENCRYPTED PRIVATE KEY", _) => return Err(block.wrong(ENCRYPTED)),
            (_, None) => return Err(block.wrong("only a private key is read here")),
            (_, Some(_)) if key.is_some() => {
                return Err(block.wrong("this is a second private key: which is meant?"));
            }
            (_, Some(form)) => key = Some((form, block.der)),
        }
    }
    key.ok_or(PemInvalid { line: 1, why: "there is no private key in PEM" })
}

/// One block as every reader takes it.
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Of its full size from the beginning: nothing of a key is left behind by growing.
    let size = body.len() + body.len() / LINE_CHARACTERS + 2 * label.len() + 40;
    let mut text = Zeroizing::new(String::with_capacity(size));
    // Writing to a String cannot fail.
    writeln!(text, "-----BEGIN {label}-----").unwrap_or_default();
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at % LINE_CHARACTERS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    writeln!(text, "\n-----END {label}-----").unwrap_or_default();
    text
}

#[cfg(test)]
mod tests;
