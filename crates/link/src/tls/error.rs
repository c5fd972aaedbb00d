//! Why a certificate is refused, and why TLS cannot be set up.

use std::path::PathBuf;

/// Why a certificate is refused. A closed set, for logs and metrics: it
/// says nothing that stands in the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Cause {
    /// There is none.
    #[error("no certificate was presented")]
    Missing,
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It does not have exactly one URI name of our form, in our trust domain; or, of a caller, it
    /// has several.
    #[error("the certificate does not name a process of this deployment")]
    Name,
    /// It names another process than the one that was looked for, or who may call here.
    #[error("the certificate names another process than the one that is expected here")]
    Other,
    /// No authority that may speak for it has issued it.
    #[error("no authority that may speak for this name has issued the certificate")]
    Authority,
    /// It is past its end, or before its beginning.
    #[error("the certificate is not valid at this time")]
    Expired,
    /// Its authority is past its end, or before its beginning.
    #[error("the authority that issued the certificate is not valid at this time")]
    AuthorityExpired,
    /// Its key usage or extended key usage does not allow what it is used for.
    #[error(
        "the certificate's (extended) key usage does not allow this use: one of our processes \
         needs clientAuth and serverAuth, a caller clientAuth"
    )]
    Usage,
    /// A name constraint of its authorities forbids its name.
    #[error("a name constraint of the authorities forbids this name, or cannot be judged")]
    Constraint,
    /// Its authority has revoked it.
    #[error("the certificate is revoked")]
    Revoked,
    /// The authority's list of revocations is past its end: no certificate is trusted by it.
    #[error("the list of revoked certificates has expired")]
    ListExpired,
}

impl Cause {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Missing,
        Self::Unreadable,
        Self::Name,
        Self::Other,
        Self::Authority,
        Self::Expired,
        Self::AuthorityExpired,
        Self::Usage,
        Self::Constraint,
        Self::Revoked,
        Self::ListExpired,
    ];

    /// The word for a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::Name => "name",
            Self::Other => "other",
            Self::Authority => "authority",
            Self::Expired => "expired",
            Self::AuthorityExpired => "authority_expired",
            Self::Usage => "usage",
            Self::Constraint => "constraint",
            Self::Revoked => "revoked",
            Self::ListExpired => "list_expired",
        }
    }
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path} cannot be read ({source})")]
    Unread {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file is not PEM as it should be.
    #[error("{path}, {problem}")]
    Pem {
        /// Which.
        path: PathBuf,
        /// Where, and what is wrong.
        problem: terms::pem::PemInvalid,
    },
    /// Key and certificate are not of each other: one of them may be on its way.
    #[error("{path}: it is not the key of the certificate")]
    Unpaired {
        /// The key's file.
        path: PathBuf,
    },
    /// Our own certificate would be refused by everybody.
    #[error("{path}: {cause}")]
    Own {
        /// Our certificate's file.
        path: PathBuf,
        /// Why.
        cause: Cause,
    },
    /// TLS itself refuses what it is given.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
    /// The handshake failed: the other end is not who is looked for, or does not take us.
    #[error("the TLS handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The handshake took too long.
    #[error("the TLS handshake was not done in time")]
    Slow,
}
