//! The one connection that commits.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Statement;

use crate::postgres::access::Access;
use crate::postgres::connect::Session;
use crate::postgres::fault::Failed;
use crate::postgres::settings::Owner;
use crate::postgres::{fault, sql};
use crate::{Batch, Error, Head};

/// Times that a commit is sent again, and the least time before it.
const AGAIN_MAX: u32 = 8;
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Its head, and the writer that has taken the term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) head: Head,
    pub(super) writer: String,
}

/// A connection that commits, and what is prepared on it.
pub(super) struct Writer {
    pub(super) session: Session,
    commit: Statement,
}

impl Writer {
    /// Connects, and looks whether the store is there and its own.
    pub(super) async fn open(access: &Access, owner: &Owner) -> Result<Self, Error> {
        let session = Session::open(access).await?;
        if !session.has_store().await? {
            session.create(owner).await?;
        }
        session.expect_owner(access, owner).await?;
        let prepared = session.client.prepare(sql::COMMIT).await;
        let commit = prepared.map_err(|error| fault::of("prepare a commit", &error))?;
        Ok(Self { session, commit })
    }

    /// A name that no other writer has had.
    pub(super) async fn new_name(&self) -> Result<String, Error> {
        let row = self.session.client.query_one(sql::NEW_WRITER, &[]).await;
        row.map(|row| row.get(0)).map_err(|error| fault::of("draw a name", &error))
    }

    /// Takes the term after `follows`, or after whichever one this writer has. None: another writer
    /// has taken it.
    pub(super) async fn take_term(
        &self,
        writer: &str,
        holder: &str,
        follows: Option<u64>,
    ) -> Result<Option<Head>, Error> {
        let follows = follows.map_or(Ok(-1), number)?;
        let warned = self.session.warnings();
        let taken =
            self.session.client.query_opt(sql::TAKE_TERM, &[&writer, &holder, &follows]).await;
        let taken = taken.map_err(|error| fault::of("take a term", &error))?;
        if self.session.warnings() != warned {
            // It may not outlive the machine: the caller takes another.
            return Err(fault::unreachable("take a durable term"));
        }
        Ok(taken.map(|row| head(row.get(0), row.get(1))))
    }

    /// The head as it is.
    pub(super) async fn held(session: &Session) -> Result<Held, Error> {
        let row = session.client.query_one(sql::HEAD, &[]).await;
        let row = row.map_err(|error| fault::of("read the head", &error))?;
        Ok(Held { head: head(row.get(0), row.get(1)), writer: row.get(2) })
    }

    /// Writes the batch and the next size, if the head is `expected` and its writer `name`.
    pub(super) async fn commit(
        &self,
        batch: Batch,
        name: &str,
        expected: Head,
        next_size: u64,
    ) -> Result<(), Error> {
        let bytes = batch.bytes();
        let (mut removed, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in batch.into_rows() {
            match value {
                Some(value) => {
                    keys.push(key);
                    values.push(value);
                }
                None => removed.push(key),
            }
        }
        let (term, size, next) =
            (number(expected.term)?, number(expected.size)?, number(next_size)?);
        let mut again = 0;
        loop {
            let warned = self.session.warnings();
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                [&term, &size, &name, &next, &removed, &keys, &values];
            let done = self.session.client.query_one(&self.commit, &parameters).await;
            // A warning says that the server has stopped waiting for its standbys.
            let warned = self.session.warnings() != warned;
            match done {
                Ok(_) if warned => return Err(Error::Unknown { cause: ErrorKind::Interrupted }),
                Ok(row) if row.get::<_, i64>(0) == 1 => return Ok(()),
                Ok(_) => {
                    let found = Self::held(&self.session).await;
                    let found = found.map_err(|_| Error::Unknown { cause: ErrorKind::Other })?;
                    return Err(Error::HeadMoved { found: found.head });
                }
                Err(error) => match fault::of_commit(&error, bytes) {
                    Failed::Again if again < AGAIN_MAX => {
                        sleep(AGAIN_AFTER * 2_u32.pow(again)).await;
                        again += 1;
                    }
                    Failed::Again => return Err(fault::of("commit", &error)),
                    Failed::Refused(error) => return Err(error),
                    Failed::Unknown(cause) => return Err(Error::Unknown { cause }),
                },
            }
        }
    }
}

/// A number as the database keeps it.
fn number(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::Database {
        action: "keep a number that large",
        state: "22003".to_owned(),
        constraint: None,
    })
}

fn head(term: i64, size: i64) -> Head {
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    Head { term: number(term), size: number(size) }
}
