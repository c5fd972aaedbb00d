//! Every reason with which Bailiwick says no: its code, whether to retry, what cures it.
//!
//! One closed set for all processes. A reason once published keeps its meaning for ever
//! (AIP-193); `docs/errors.md` is checked against this file by a test.

/// The few gRPC codes that we use; mapped to `Status` in the gateway only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// The state, or the law, does not allow it.
    FailedPrecondition,
    /// There is no such thing.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// A condition on a version was not met (AIP-154).
    Aborted,
    /// Nobody knows who the caller is.
    Unauthenticated,
    /// The caller may not.
    PermissionDenied,
    /// A limit is reached; it passes.
    ResourceExhausted,
    /// Not now; it passes.
    Unavailable,
    /// The caller's time was up.
    DeadlineExceeded,
    /// Our mistake.
    Internal,
    /// Stored bytes are not what was stored.
    DataLoss,
    /// Not built.
    Unimplemented,
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No: it gives the same answer until something else changes.
    No,
    /// Yes, with the same `request_id`, after the delay in `RetryInfo`.
    SameRequestId,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $text:literal $code:ident $retry:ident $cure:literal;)*) => {
        /// Why something was not done. Stable names in upper snake case (AIP-193).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All of them, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The gRPC code that goes with it.
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code),* }
            }

            /// Whether to send the same request again.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry),* }
            }

            /// What the caller can do about it, in one sentence.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure),* }
            }

            /// The reason of that name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    // --- the request is wrong
    /// A required field is empty.
    FieldMissing "FIELD_MISSING" InvalidArgument No "set the field that is named";
    /// A field does not have the form that its documentation asks for.
    FieldInvalid "FIELD_INVALID" InvalidArgument No "correct the field that is named";
    /// An evidence kind that this version does not know.
    EvidenceKindUnknown "EVIDENCE_KIND_UNKNOWN" InvalidArgument No "use one of citizenship, document, residence, collected_in, ip, phone, sim";
    /// An evidence value that is not of its kind's form.
    EvidenceMalformed "EVIDENCE_MALFORMED" InvalidArgument No "send an ISO 3166-1 alpha-2 code, an IP address, an E.164 number or a mobile country code, as the kind asks";
    /// More items than the limit.
    TooManyItems "TOO_MANY_ITEMS" InvalidArgument No "send no more items than the limit in the metadata";
    /// A body over the limit.
    BodyTooLarge "BODY_TOO_LARGE" InvalidArgument No "split the record, or raise the map's limit (16 MiB at most)";
    /// A record would live longer than the map allows for its collection.
    ExpiryTooLate "EXPIRY_TOO_LATE" InvalidArgument No "set an expire_time within the life in the metadata, or none for the longest";
    /// An attachment over the limit.
    AttachmentTooLarge "ATTACHMENT_TOO_LARGE" InvalidArgument No "split the attachment: it has 1 GiB at most";
    /// What was uploaded does not have the hash that was stated. The upload is discarded.
    ContentMismatch "CONTENT_MISMATCH" InvalidArgument No "compute the SHA-256 of what you send, and upload it again";
    /// The body of a record is an attachment.
    BodyIsAttachment "BODY_IS_ATTACHMENT" FailedPrecondition No "read it with Attachments.Download";
    /// There is no such upload: it was discarded, or never begun.
    UploadUnknown "UPLOAD_UNKNOWN" NotFound No "begin the upload again";
    /// Data of an upload does not begin where the last ended.
    UploadOutOfStep "UPLOAD_OUT_OF_STEP" Aborted No "take the upload up again in a new stream, and send from committed_bytes";
    /// Too many uploads are in progress, or they take too much room.
    UploadsFull "UPLOADS_FULL" ResourceExhausted SameRequestId "finish the uploads that are in progress, or wait until they are discarded";
    /// The map declares no such collection.
    CollectionUnknown "COLLECTION_UNKNOWN" InvalidArgument No "use a collection that the region map declares";
    /// Neither a domicile nor evidence says where to go.
    DomicileRequired "DOMICILE_REQUIRED" InvalidArgument No "set subject.domicile as returned by the first put, or send evidence";
    /// The map has no region of that name.
    DomicileUnknown "DOMICILE_UNKNOWN" InvalidArgument No "use a region that the region map names";
    /// The collection declares no attribute of that name.
    AttributeUnknown "ATTRIBUTE_UNKNOWN" InvalidArgument No "use an attribute that the region map declares for the collection";
    /// An attribute's value is not of the type that the map declares, is too long, or is there twice.
    AttributeInvalid "ATTRIBUTE_INVALID" InvalidArgument No "send a value of the type that the region map declares for the attribute";
    /// A filter or an order that cannot be read.
    FilterInvalid "FILTER_INVALID" InvalidArgument No "write it by the grammar in the API reference";
    /// A page token that no answer gave, or one of another request, caller or map.
    PageTokenInvalid "PAGE_TOKEN_INVALID" InvalidArgument No "send the token as it came, with the request that it came for; or begin again without one";
    /// The same request id came with another request.
    RequestIdReused "REQUEST_ID_REUSED" InvalidArgument No "make a new request_id for a new request";

    // --- the rules say no: nothing was stored
    /// No evidence names a country.
    JurisdictionUndetermined "JURISDICTION_UNDETERMINED" FailedPrecondition No "send evidence that names a country: residence, citizenship, or where the person is";
    /// The evidence lies in an area that several countries claim, and the map has not decided it.
    JurisdictionDisputed "JURISDICTION_DISPUTED" FailedPrecondition No "have the operator decide the area in the map, or send evidence that says more: residence, or where the person is";
    /// Something of the subject may not leave for the reader's territory: an export is whole or refused.
    ExportWithheld "EXPORT_WITHHELD" FailedPrecondition No "export the subject from inside the region's territory";
    /// Two laws each claim the first copy, or an exclusive law meets one that asks for a copy.
    Unsatisfiable "UNSATISFIABLE" FailedPrecondition No "no placement satisfies every law that attaches: have the evidence checked, or keep this record out of the platform";
    /// The map has no region in the territory that the law asks for.
    NoRegion "NO_REGION" FailedPrecondition No "give the map a home in the territory that is named";
    /// The region where it would have to lie is at a site with which the collection must not lie.
    RegionExcluded "REGION_EXCLUDED" FailedPrecondition No "give the map a home at a site that the collection does not exclude";
    /// A law allows it only under a transfer clause, and the map has none.
    TransferNotCovered "TRANSFER_NOT_COVERED" FailedPrecondition No "give the map a transfer clause for the territories and the collection that are named";
    /// A citizen who lives elsewhere, and the map's `citizens_abroad` is `refuse`.
    CitizenAbroad "CITIZEN_ABROAD" FailedPrecondition No "decide the case by hand, or change citizens_abroad in the map";
    /// New evidence about citizenship or residence would change a ruling that stands.
    JurisdictionChanged "JURISDICTION_CHANGED" FailedPrecondition No "send the new evidence to Subjects.Reassess, which makes the rulings again; nothing was stored";
    /// A region cannot be chosen for the subject: the rules do not leave it open.
    ChoiceNotOpen "CHOICE_NOT_OPEN" FailedPrecondition No "choose a region that the rules leave open for all collections of the subject: a dry run of Subjects.Adjudicate lists them";
    /// What is to be confirmed for a subject is not proposed, or was proposed more than 30 days ago.
    ChoiceNotProposed "CHOICE_NOT_PROPOSED" FailedPrecondition No "have a caller with the role adjudicator propose that region first";
    /// A subject has had too many proposals within a day.
    ChoicesFull "CHOICES_FULL" ResourceExhausted SameRequestId "wait a day, or confirm what is proposed";
    /// The shard's own map does not give the placement that the gateway asked for.
    PlacementNotAdmitted "PLACEMENT_NOT_ADMITTED" FailedPrecondition No "bring gateway and shard to the same map, then send the request again";
    /// A list or count needs an index that the map does not declare.
    IndexRequired "INDEX_REQUIRED" FailedPrecondition No "declare the index in the region map, or ask by what has one";
    /// Changes of a collection are asked for of which the map keeps no feed.
    FeedRequired "FEED_REQUIRED" FailedPrecondition No "declare a feed for the collection in the region map, such as feed = \"7d\"";
    /// What a cursor would go on with is not kept any more, or was not kept all the time since.
    CursorExpired "CURSOR_EXPIRED" FailedPrecondition No "begin again without a cursor, then list the records to learn what has changed meanwhile";
    /// The record's domicile is another region than the one that was asked.
    WrongDomicile "WRONG_DOMICILE" FailedPrecondition No "use the domicile that the first put of this collection returned";

    // --- a batch
    /// The bodies before it in the answer of a batch leave no room for this one.
    BatchFull "BATCH_FULL" FailedPrecondition No "read the record in another batch, or on its own";

    // --- the state says no
    /// No such subject in that region.
    SubjectUnknown "SUBJECT_UNKNOWN" NotFound No "create the subject first, or set create_subject and send evidence";
    /// The subject was erased.
    SubjectErased "SUBJECT_ERASED" FailedPrecondition No "an erased subject does not come back; use a new id for a new relation";
    /// The collection is being erased, or the write is a late retry of one that was erased with it.
    CollectionErased "COLLECTION_ERASED" FailedPrecondition No "what was erased does not come back: once the erasure is done, send what is new under a new request_id";
    /// The subject is blocked: its records are kept, and neither read nor written.
    SubjectBlocked "SUBJECT_BLOCKED" FailedPrecondition No "have the operator lift the block on the subject";
    /// The subject's records are in another region.
    SubjectMoved "SUBJECT_MOVED" FailedPrecondition No "use the region in the metadata as subject.domicile";
    /// Another region holds a subject of that id, and the map wants ids to be unique.
    SubjectElsewhere "SUBJECT_ELSEWHERE" AlreadyExists No "find the subject with Subjects.Locate and use its domicile, or take another id";
    /// The subject is there already.
    SubjectExists "SUBJECT_EXISTS" AlreadyExists No "go on with the subject that is there";
    /// No such record.
    RecordNotFound "RECORD_NOT_FOUND" NotFound No "check collection and key; a deleted record is not found either";
    /// `if_version` was 0 and there is a record.
    RecordExists "RECORD_EXISTS" AlreadyExists No "read the record, then write with its version";
    /// `if_version` or `etag` is not the record's.
    VersionMismatch "VERSION_MISMATCH" Aborted No "read the record again, then write with the version that you read";

    // --- the placement log
    /// The shard serves no log of that origin.
    LogUnknown "LOG_UNKNOWN" NotFound No "use an origin whose key Ledger.Checkpoint lists, at the shard that it names";
    /// The log has signed for fewer entries.
    EntryUnknown "ENTRY_UNKNOWN" NotFound No "use a number below the size of the newest checkpoint, and sizes that grow";

    // --- region maps
    /// A map, or one of the packs that came with it, cannot be read or does not fit together.
    MapInvalid "MAP_INVALID" InvalidArgument No "run `bailiwick map check` on it: it names every mistake with its place";
    /// A map bears too few signatures of those that this process knows: one, or two where it lets data go, or lowers a protection, where the map before did not.
    MapUnsigned "MAP_UNSIGNED" PermissionDenied No "have it signed by a signer that every process is configured with, or by two if `bailiwick map check --against` says that it widens";
    /// The map is older than the one in force, which never goes back.
    MapStale "MAP_STALE" FailedPrecondition No "make a newer map of it: `bailiwick map revert`";
    /// The map follows another history than the one in force.
    MapFork "MAP_FORK" FailedPrecondition No "name the digest of the map in force as predecessor, or of both where two are in force in different places";
    /// The map follows one that this process has not taken.
    MapGap "MAP_GAP" FailedPrecondition No "apply the maps between first";
    /// The map in force is not the one that was expected.
    MapEpochChanged "MAP_EPOCH_CHANGED" Aborted No "look at what is in force now, plan against it, then apply with its number";

    // --- not now
    /// Gateway and shard hold different maps just now, and do not agree on this record. Nothing was stored.
    MapsDiffer "MAPS_DIFFER" Unavailable SameRequestId "send the same request again: both take the newer map within seconds";
    /// A map has declared the index, and the shard is still writing its rows for records that it has stored before.
    IndexBuilding "INDEX_BUILDING" Unavailable SameRequestId "send the same request again later: `bailiwick map status` says how far it is; or ask by what has a complete index";
    /// The region's shard cannot be reached. Nothing was stored, here or elsewhere.
    RegionUnavailable "REGION_UNAVAILABLE" Unavailable SameRequestId "send the same request again later; no other region may take it";
    /// The connection broke, or time ran out, after the write was sent.
    WriteOutcomeUnknown "WRITE_OUTCOME_UNKNOWN" Unavailable SameRequestId "send the same request again with the same request_id: it settles whether the write happened";
    /// The keys by which the issuer's tokens are verified have not been read yet, or not for too long.
    KeysUnavailable "KEYS_UNAVAILABLE" Unavailable SameRequestId "send the same request again after the delay; if it lasts, the operator must see to it that the gateway can read the issuer's keys";
    /// The process is going down.
    ShuttingDown "SHUTTING_DOWN" Unavailable SameRequestId "send the same request again";
    /// The shard does not own the subject's slot, or several shards of the region own it.
    SlotNotOwned "SLOT_NOT_OWNED" Unavailable SameRequestId "send the same request again: a slot that moves to another shard of the region is served there in a moment. If it stays so, the region's operators have to put its slots right: `bailiwick map status` names those that no shard, or more than one, has";
    /// The subject's records are on their way to another region.
    SubjectMoving "SUBJECT_MOVING" Unavailable SameRequestId "send the same request again: once the move is done, the answer names the region";
    /// A subject of that id is just being created for another region, or asking the other regions took too long. Nothing was stored.
    UniquenessUnsettled "UNIQUENESS_UNSETTLED" Unavailable SameRequestId "send the same request again: it is settled within seconds";
    /// Too many calls in flight in the gateway.
    GatewayBusy "GATEWAY_BUSY" ResourceExhausted SameRequestId "send the same request again after the delay";
    /// The tenant has reached its own limit of calls in flight, or of calls a second.
    TenantBusy "TENANT_BUSY" ResourceExhausted SameRequestId "send the same request again after the delay, or ask the operator for a higher limit";
    /// Too many calls in flight towards one shard, or waiting for its committer.
    ShardBusy "SHARD_BUSY" ResourceExhausted SameRequestId "send the same request again after the delay";
    /// The shard's disk is down to the reserve that is kept for erasure and expiry.
    DiskReserve "DISK_RESERVE" ResourceExhausted SameRequestId "have space freed on the shard's disk; deletes still work";
    /// The shard's clock is far ahead of the last time that it knows, and it writes nothing by it.
    ClockUnconfirmed "CLOCK_UNCONFIRMED" Unavailable SameRequestId "have the operator set the shard's clock right, or confirm it with `bailiwick shard confirm-clock`; nothing was stored";
    /// The caller's deadline passed before anything was done. Nothing was stored.
    DeadlinePassed "DEADLINE_PASSED" DeadlineExceeded SameRequestId "send the request again with a longer deadline";

    // --- sealed transit
    /// The map wants bodies of the collection sealed to their region, and this call would bring or answer one that a gateway can read.
    TransitNotSealed "TRANSIT_NOT_SEALED" FailedPrecondition No "seal bodies to the region's transit key (Transit.GetKey), and ask sealed questions: a client of the Rust or Python SDK that knows the region's identity key does both, and so do the commands that take `--transit-identity`";
    /// The body is sealed to a key that the region does not have, or no longer opens.
    TransitKeyUnknown "TRANSIT_KEY_UNKNOWN" FailedPrecondition No "fetch the region's transit key again (Transit.GetKey), then seal the body to it";
    /// A sealed body does not open: it was changed on its way, or is sealed for another region, tenant, record or request.
    TransitSealInvalid "TRANSIT_SEAL_INVALID" InvalidArgument No "seal the body for this very request; if an SDK did, what lies between it and the region changes requests";

    // --- who asks, and from where
    /// The caller presents neither a certificate nor a token that this listener accepts.
    IdentityMissing "IDENTITY_MISSING" Unauthenticated No "present a client certificate, or a token in the authorization header";
    /// The caller's token or certificate is not valid: expired, not yet valid, revoked, of another issuer or audience, or signed by nobody known.
    IdentityInvalid "IDENTITY_INVALID" Unauthenticated No "get a new token or certificate for this deployment, then send the request again";
    /// The caller does not have the role, tenant, collection or region that the call needs.
    NotPermitted "NOT_PERMITTED" PermissionDenied No "ask the operator for the role that the call needs";
    /// The region map does not let the tenant look for a subject by its id alone.
    LocateNotAllowed "LOCATE_NOT_ALLOWED" FailedPrecondition No "name the domicile; or set `locate = true` for the tenant in the region map";
    /// The answer would carry the record out of the territory, and no transfer clause covers that.
    EgressNotCovered "EGRESS_NOT_COVERED" FailedPrecondition No "read from inside the territory, through a gateway there; or give the map a transfer clause for the territories and the collection";
    /// A law that attaches wants the body taken by a gateway inside its territory.
    WrongIngress "WRONG_INGRESS" FailedPrecondition No "send the request to the gateway in the metadata; ask ResolvePlacement before a body is sent";

    // --- ours
    /// A mistake of ours, logged under the call id.
    Internal "INTERNAL" Internal No "report the call_id";
    /// A stored row does not open or is not what was stored.
    StoredDataDamaged "STORED_DATA_DAMAGED" DataLoss No "report the call_id; the operator must restore the shard from a backup";
    /// This version cannot do that yet.
    NotBuilt "NOT_BUILT" Unimplemented No "see the limits in the README";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_stable_names() {
        for reason in Reason::ALL {
            let text = reason.as_str();
            assert!(text.len() <= 63 && text.bytes().all(|c| c.is_ascii_uppercase() || c == b'_'));
            assert_eq!(Reason::parse(text), Some(*reason));
            assert!(!reason.cure().is_empty());
        }
    }

    #[test]
    fn only_what_passes_is_retried() {
        for reason in Reason::ALL {
            let passes = matches!(
                reason.code(),
                Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
            );
            assert_eq!(reason.retry() == Retry::SameRequestId, passes, "{reason}");
        }
    }
}
