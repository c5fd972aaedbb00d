//! The plain HTTP paths of C2SP `tlog-tiles`, below each log's origin: `checkpoint`, `tile/…` and
//! `tile/entries/…`, partial ones of every signed size. And `policy`, the keys of all logs of this
//! shard as a C2SP `tlog-policy` file.

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ledger::{BundleId, TileId};
use terms::{Code, Reason, Rejection};

use crate::audit::access::AuditContext;

/// Tiles and bundles never change.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// A checkpoint does, four times a second.
const BRIEFLY: &str = "no-cache";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// What was asked for.
enum Page {
    Checkpoint,
    Tile(TileId),
    Bundle(BundleId),
    Policy,
}

/// One path.
pub(crate) async fn page(
    Extension(context): Extension<AuditContext>,
    request: Request,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let Some((origin, page)) = parse(request.uri()) else {
        return refused(&Rejection::new(Reason::LogUnknown)).into_response();
    };
    let chronicles = context.logs().clone();
    let read = context.read(move || {
        if matches!(page, Page::Policy) {
            let logs = chronicles.vkeys()?.into_iter().map(|vkey| format!("log {vkey}\n"));
            return Ok(Some((logs.collect::<String>() + "quorum none\n").into_bytes())
                .map(|text| (TEXT, BRIEFLY, text)));
        }
        let log = match page {
            Page::Checkpoint => chronicles.shown_of(&origin)?,
            Page::Tile(_) | Page::Bundle(_) | Page::Policy => chronicles.of(&origin)?,
        };
        Ok(match page {
            Page::Tile(tile) => log.tile(tile)?.map(|bytes| (BYTES, FOR_EVER, bytes)),
            Page::Bundle(bundle) => log.bundle(bundle)?.map(|bytes| (BYTES, FOR_EVER, bytes)),
            Page::Checkpoint | Page::Policy => {
                Some((TEXT, BRIEFLY, log.signed.note.clone().into_bytes()))
            }
        })
    });
    match read.await {
        Ok(Some((kind, cache, bytes))) => {
            let mut response = Response::new(Body::from(bytes));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
            response
        }
        Ok(None) => refused(&Rejection::new(Reason::EntryUnknown)).into_response(),
        Err(fault) => refused(&fault).into_response(),
    }
}

/// A log's origin, and what of it. Without an origin: of the log that grows.
fn parse(uri: &Uri) -> Option<(String, Page)> {
    let path = uri.path().strip_prefix('/')?;
    if path == "policy" {
        return Some((String::new(), Page::Policy));
    }
    // An origin may have such words in it: what counts is a whole segment, the last one that fits.
    let at = match path.strip_suffix("checkpoint") {
        Some(origin) => origin.len(),
        None if path.starts_with("tile/") && !path.contains("/tile/") => 0,
        None => path.rfind("/tile/")? + 1,
    };
    let (origin, name) = path.split_at_checked(at)?;
    let origin = match origin {
        "" => "",
        origin => origin.strip_suffix('/')?,
    };
    let page = if name == "checkpoint" {
        Page::Checkpoint
    } else if let Some(bundle) = BundleId::parse_path(name) {
        Page::Bundle(bundle)
    } else {
        Page::Tile(TileId::parse_path(name)?)
    };
    Some((origin.to_owned(), page))
}

/// A refusal in plain text: reason and cure.
pub(crate) fn refused(fault: &Rejection) -> (StatusCode, String) {
    let code = match fault.reason.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::DataLoss
        | Code::Unimplemented => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, format!("{}: {}\n", fault.reason.as_str(), fault.cure_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_a_log_and_a_part_of_it() {
        let read = |path: &str| {
            let uri: Uri = path.parse().unwrap();
            parse(&uri).map(|(origin, page)| {
                let page = match page {
                    Page::Checkpoint => "checkpoint".to_owned(),
                    Page::Tile(tile) => tile.path(),
                    Page::Bundle(bundle) => bundle.path(),
                    Page::Policy => "policy".to_owned(),
                };
                format!("{origin}|{page}")
            })
        };
        for (path, wanted) in [
            ("/checkpoint", "|checkpoint"),
            ("/a/eu/s1/1/checkpoint", "a/eu/s1/1|checkpoint"),
            ("/a/eu/s1/1/tile/0/x001/000.p/7", "a/eu/s1/1|tile/0/x001/000.p/7"),
            ("/tile/entries/000", "|tile/entries/000"),
            ("/policy", "|policy"),
            ("/textile/eu/s1/1/checkpoint", "textile/eu/s1/1|checkpoint"),
            ("/textile/eu/s1/1/tile/0/000", "textile/eu/s1/1|tile/0/000"),
            ("/a/tile/s1/1/tile/0/000", "a/tile/s1/1|tile/0/000"),
        ] {
            assert_eq!(read(path).as_deref(), Some(wanted), "{path}");
        }
        for bad in
            ["/", "/x", "/xcheckpoint", "/a/tile/0/1", "/atile/0/000", "/tile/0/000/", "/tile/"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
