//! Entries to bytes and back. Both ways check the same things, so that one entry has one form.

use super::{
    Caller, Detail, ENTRY_BYTES_MAX, Entry, Error, EvidenceKinds, Kind, LIST_ITEMS_MAX, MapRef,
    NAME_BYTES_MAX, Role, TEXT_BYTES_MAX,
};
use crate::bytes::Reader;
use crate::hash::Hash;

/// The format of the layout in [`super`].
const FORMAT: u8 = 1;
/// Bytes that most entries stay below.
const ENTRY_BYTES_USUAL: usize = 256;

/// The bits that say which fields are there.
mod bit {
    pub(super) const TENANT: u16 = 1;
    pub(super) const COLLECTION: u16 = 1 << 1;
    pub(super) const JURISDICTIONS: u16 = 1 << 2;
    pub(super) const STATUTES: u16 = 1 << 3;
    pub(super) const CLAUSES: u16 = 1 << 4;
    pub(super) const MAP: u16 = 1 << 5;
    pub(super) const EVIDENCE: u16 = 1 << 6;
    pub(super) const CALLER: u16 = 1 << 7;
    pub(super) const EARLIER: u16 = 1 << 8;
    pub(super) const DETAILS: u16 = 1 << 9;
    pub(super) const COMMITMENT: u16 = 1 << 10;
    pub(super) const ALL: u16 = (1 << 11) - 1;
}

// === impl Entry ===

impl Entry {
    /// Its bytes.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::Character`], [`Error::Order`] (see [`Entry::in_order`]).
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(ENTRY_BYTES_USUAL);
        self.encode_into(&mut bytes)?;
        Ok(bytes)
    }

    /// Adds its bytes to `out`, which stays as it was if there is an error.
    ///
    /// # Errors
    /// As [`Entry::encode`].
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        let result = self.write(out);
        let result = match out.len().checked_sub(start) {
            Some(length) if length <= ENTRY_BYTES_MAX => result,
            _ => result.and(Err(Error::Length)),
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// The entry of these bytes.
    ///
    /// # Errors
    /// [`Error`], unless [`Entry::encode`] gives the very same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Error::Length);
        }
        let mut reader = Reader::new(bytes);
        let entry = Self::read(&mut reader)?;
        if reader.is_empty() { Ok(entry) } else { Err(Error::Trailing) }
    }

    fn present(&self) -> u16 {
        [
            (self.tenant_tag.is_some(), bit::TENANT),
            (self.collection.is_some(), bit::COLLECTION),
            (!self.jurisdictions.is_empty(), bit::JURISDICTIONS),
            (!self.statutes.is_empty(), bit::STATUTES),
            (!self.clauses.is_empty(), bit::CLAUSES),
            (self.map.is_some(), bit::MAP),
            (!self.evidence_kinds.is_empty(), bit::EVIDENCE),
            (self.caller.is_some(), bit::CALLER),
            (self.earlier.is_some(), bit::EARLIER),
            (!self.details.is_empty(), bit::DETAILS),
            (self.commitment.is_some(), bit::COMMITMENT),
        ]
        .into_iter()
        .fold(0, |bits, (is_there, bit)| if is_there { bits | bit } else { bits })
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        out.push(FORMAT);
        out.push(self.kind.code());
        out.extend_from_slice(&self.minute.to_be_bytes());
        out.extend_from_slice(&self.present().to_be_bytes());
        if let Some(tag) = &self.tenant_tag {
            out.extend_from_slice(tag);
        }
        if let Some(collection) = &self.collection {
            write_name(out, collection)?;
        }
        for list in [&self.jurisdictions, &self.statutes, &self.clauses] {
            write_list(out, list)?;
        }
        if let Some(MapRef { epoch, digest }) = &self.map {
            out.extend_from_slice(&epoch.to_be_bytes());
            out.extend_from_slice(digest);
        }
        if !self.evidence_kinds.is_empty() {
            out.push(self.evidence_kinds.bits());
        }
        if let Some(Caller { role, tag, territory }) = &self.caller {
            out.push(role.code());
            out.extend_from_slice(tag);
            match territory {
                Some(territory) => write_name(out, territory)?,
                None => out.push(0),
            }
        }
        if let Some(earlier) = self.earlier {
            out.extend_from_slice(&earlier.to_be_bytes());
        }
        write_details(out, &self.details)?;
        if let Some(commitment) = &self.commitment {
            out.extend_from_slice(commitment);
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        if reader.u8().ok_or(Error::Truncated)? != FORMAT {
            return Err(Error::Format);
        }
        let kind = Kind::from_code(reader.u8().ok_or(Error::Truncated)?).ok_or(Error::Code)?;
        let minute = reader.u32().ok_or(Error::Truncated)?;
        let present = reader.u16().ok_or(Error::Truncated)?;
        if present & !bit::ALL != 0 {
            return Err(Error::Code);
        }
        let has = |bit: u16| present & bit != 0;
        let mut entry = Self::new(kind, minute);
        if has(bit::TENANT) {
            entry.tenant_tag = Some(reader.array().ok_or(Error::Truncated)?);
        }
        if has(bit::COLLECTION) {
            entry.collection = Some(read_name(reader)?);
        }
        for (bit, list) in [
            (bit::JURISDICTIONS, &mut entry.jurisdictions),
            (bit::STATUTES, &mut entry.statutes),
            (bit::CLAUSES, &mut entry.clauses),
        ] {
            if has(bit) {
                *list = read_list(reader)?;
            }
        }
        if has(bit::MAP) {
            let epoch = reader.u64().ok_or(Error::Truncated)?;
            let digest = reader.array().ok_or(Error::Truncated)?;
            entry.map = Some(MapRef { epoch, digest });
        }
        if has(bit::EVIDENCE) {
            let kinds = EvidenceKinds::from_bits(reader.u8().ok_or(Error::Truncated)?);
            entry.evidence_kinds = kinds.filter(|kinds| !kinds.is_empty()).ok_or(Error::Code)?;
        }
        if has(bit::CALLER) {
            entry.caller = Some(read_caller(reader)?);
        }
        if has(bit::EARLIER) {
            entry.earlier = Some(reader.u64().ok_or(Error::Truncated)?);
        }
        if has(bit::DETAILS) {
            entry.details = read_details(reader)?;
        }
        if has(bit::COMMITMENT) {
            entry.commitment = Some(reader.array().ok_or(Error::Truncated)?);
        }
        Ok(entry)
    }
}

fn check_name(name: &[u8]) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::Length);
    }
    // No comma: it separates names where people read them.
    let is_allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    if name.iter().all(is_allowed) { Ok(()) } else { Err(Error::Character) }
}

fn check_text(text: &[u8]) -> Result<(), Error> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(Error::Length);
    }
    let is_printable = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    if text.iter().all(is_printable) { Ok(()) } else { Err(Error::Character) }
}

fn write_name(out: &mut Vec<u8>, name: &str) -> Result<(), Error> {
    check_name(name.as_bytes())?;
    out.push(u8::try_from(name.len()).map_err(|_| Error::Length)?);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, Error> {
    let length = reader.u8().ok_or(Error::Truncated)?;
    let name = reader.take(usize::from(length)).ok_or(Error::Truncated)?;
    check_name(name)?;
    String::from_utf8(name.to_vec()).map_err(|_| Error::Character)
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    check_text(text.as_bytes())?;
    let length = u16::try_from(text.len()).map_err(|_| Error::Length)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn read_text(reader: &mut Reader<'_>) -> Result<String, Error> {
    let length = reader.u16().ok_or(Error::Truncated)?;
    let text = reader.take(usize::from(length)).ok_or(Error::Truncated)?;
    check_text(text)?;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Character)
}

fn check_list(names: &[String]) -> Result<(), Error> {
    if names.len() > LIST_ITEMS_MAX {
        return Err(Error::Length);
    }
    if names.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err(Error::Order) }
}

fn write_list(out: &mut Vec<u8>, names: &[String]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    check_list(names)?;
    out.push(u8::try_from(names.len()).map_err(|_| Error::Length)?);
    names.iter().try_for_each(|name| write_name(out, name))
}

fn read_list(reader: &mut Reader<'_>) -> Result<Vec<String>, Error> {
    let count = usize::from(reader.u8().ok_or(Error::Truncated)?);
    if count == 0 || count > LIST_ITEMS_MAX {
        return Err(Error::Length);
    }
    let names = (0..count).map(|_| read_name(reader)).collect::<Result<Vec<_>, _>>()?;
    check_list(&names)?;
    Ok(names)
}

fn read_caller(reader: &mut Reader<'_>) -> Result<Caller, Error> {
    let role = Role::from_code(reader.u8().ok_or(Error::Truncated)?).ok_or(Error::Code)?;
    let tag = reader.array().ok_or(Error::Truncated)?;
    let length = reader.u8().ok_or(Error::Truncated)?;
    let territory = reader.take(usize::from(length)).ok_or(Error::Truncated)?;
    if territory.is_empty() {
        return Ok(Caller { role, tag, territory: None });
    }
    check_name(territory)?;
    let territory = String::from_utf8(territory.to_vec()).map_err(|_| Error::Character)?;
    Ok(Caller { role, tag, territory: Some(territory) })
}

fn check_details(details: &[Detail]) -> Result<(), Error> {
    if details.is_sorted_by(|a, b| a.code() < b.code()) { Ok(()) } else { Err(Error::Order) }
}

fn write_details(out: &mut Vec<u8>, details: &[Detail]) -> Result<(), Error> {
    if details.is_empty() {
        return Ok(());
    }
    check_details(details)?;
    out.push(u8::try_from(details.len()).map_err(|_| Error::Length)?);
    for detail in details {
        out.push(detail.code());
        match detail {
            Detail::Count(n) => out.extend_from_slice(&n.to_be_bytes()),
            Detail::OldHead { origin, size, root } => {
                write_text(out, origin)?;
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(&root.0);
            }
            Detail::Peer { origin, index } => {
                write_text(out, origin)?;
                out.extend_from_slice(&index.to_be_bytes());
            }
            Detail::Deadline(minute) => out.extend_from_slice(&minute.to_be_bytes()),
            Detail::Reason(text)
            | Detail::LogKey(text)
            | Detail::PhoneData(text)
            | Detail::IpData(text)
            | Detail::Signers(text)
            | Detail::Region(text)
            | Detail::References(text) => write_text(out, text)?,
        }
    }
    Ok(())
}

fn read_detail(reader: &mut Reader<'_>) -> Result<Detail, Error> {
    Ok(match reader.u8().ok_or(Error::Truncated)? {
        1 => Detail::Count(reader.u64().ok_or(Error::Truncated)?),
        2 => Detail::Reason(read_text(reader)?),
        3 => {
            let origin = read_text(reader)?;
            let size = reader.u64().ok_or(Error::Truncated)?;
            let root = Hash(reader.array().ok_or(Error::Truncated)?);
            Detail::OldHead { origin, size, root }
        }
        4 => {
            let origin = read_text(reader)?;
            Detail::Peer { origin, index: reader.u64().ok_or(Error::Truncated)? }
        }
        5 => Detail::Deadline(reader.u32().ok_or(Error::Truncated)?),
        6 => Detail::LogKey(read_text(reader)?),
        7 => Detail::PhoneData(read_text(reader)?),
        8 => Detail::IpData(read_text(reader)?),
        9 => Detail::Signers(read_text(reader)?),
        10 => Detail::Region(read_text(reader)?),
        11 => Detail::References(read_text(reader)?),
        _ => return Err(Error::Code),
    })
}

fn read_details(reader: &mut Reader<'_>) -> Result<Vec<Detail>, Error> {
    let count = reader.u8().ok_or(Error::Truncated)?;
    if count == 0 {
        return Err(Error::Length);
    }
    let details = (0..count).map(|_| read_detail(reader)).collect::<Result<Vec<_>, _>>()?;
    check_details(&details)?;
    Ok(details)
}
