//! The methods of the API, as permissions, metrics and logs name them.

use link::ops::metrics::Label;

/// The services of the API.
pub(crate) const SERVICES: [&str; 6] = [
    "bailiwick.v1.Records",
    "bailiwick.v1.Attachments",
    "bailiwick.v1.Subjects",
    "bailiwick.v1.Operations",
    "bailiwick.v1.RegionMaps",
    "bailiwick.v1.Transit",
];

/// The methods of the API, and all else that a caller may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    Put,
    Get,
    List,
    Count,
    Watch,
    Scan,
    Delete,
    Touch,
    Patch,
    StreamPut,
    /// One request of a `StreamPut`.
    StreamPutItem,
    BatchGet,
    BatchPut,
    BatchDelete,
    /// One request of a batch.
    BatchItem,
    /// `Attachments`.
    Upload,
    Download,
    Stat,
    Create,
    ResolvePlacement,
    SubjectGet,
    SubjectLocate,
    SubjectReassess,
    SubjectRelocate,
    SubjectAdjudicate,
    SubjectConfirmAdjudication,
    SubjectExport,
    SubjectErase,
    SubjectRotateKey,
    SubjectBlock,
    SubjectUnblock,
    /// `Operations`.
    OperationGet,
    OperationList,
    OperationCancel,
    /// `RegionMaps`: what is in force, and where.
    MapGet,
    MapStatus,
    MapHistory,
    /// `RegionMaps`: what would be.
    MapCheck,
    MapPlan,
    MapApply,
    /// `Transit`.
    TransitGetKey,
    /// Health, reflection, and what does not exist.
    Other,
}

impl Method {
    /// The method behind a request's path.
    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            "/bailiwick.v1.Records/Put" => Self::Put,
            "/bailiwick.v1.Records/Get" => Self::Get,
            "/bailiwick.v1.Records/List" => Self::List,
            "/bailiwick.v1.Records/Count" => Self::Count,
            "/bailiwick.v1.Records/Watch" => Self::Watch,
            "/bailiwick.v1.Records/Scan" => Self::Scan,
            "/bailiwick.v1.Records/Delete" => Self::Delete,
            "/bailiwick.v1.Records/Touch" => Self::Touch,
            "/bailiwick.v1.Records/Patch" => Self::Patch,
            "/bailiwick.v1.Records/StreamPut" => Self::StreamPut,
            "/bailiwick.v1.Records/BatchGet" => Self::BatchGet,
            "/bailiwick.v1.Records/BatchPut" => Self::BatchPut,
            "/bailiwick.v1.Records/BatchDelete" => Self::BatchDelete,
            "/bailiwick.v1.Attachments/Upload" => Self::Upload,
            "/bailiwick.v1.Attachments/Download" => Self::Download,
            "/bailiwick.v1.Attachments/Stat" => Self::Stat,
            "/bailiwick.v1.Subjects/Create" => Self::Create,
            "/bailiwick.v1.Subjects/ResolvePlacement" => Self::ResolvePlacement,
            "/bailiwick.v1.Subjects/Get" => Self::SubjectGet,
            "/bailiwick.v1.Subjects/Locate" => Self::SubjectLocate,
            "/bailiwick.v1.Subjects/Reassess" => Self::SubjectReassess,
            "/bailiwick.v1.Subjects/Relocate" => Self::SubjectRelocate,
            "/bailiwick.v1.Subjects/Adjudicate" => Self::SubjectAdjudicate,
            "/bailiwick.v1.Subjects/ConfirmAdjudication" => Self::SubjectConfirmAdjudication,
            "/bailiwick.v1.Operations/Get" => Self::OperationGet,
            "/bailiwick.v1.Operations/List" => Self::OperationList,
            "/bailiwick.v1.Operations/Cancel" => Self::OperationCancel,
            "/bailiwick.v1.Subjects/Export" => Self::SubjectExport,
            "/bailiwick.v1.Subjects/Erase" => Self::SubjectErase,
            "/bailiwick.v1.Subjects/RotateKey" => Self::SubjectRotateKey,
            "/bailiwick.v1.Subjects/Block" => Self::SubjectBlock,
            "/bailiwick.v1.Subjects/Unblock" => Self::SubjectUnblock,
            "/bailiwick.v1.RegionMaps/Get" => Self::MapGet,
            "/bailiwick.v1.RegionMaps/Status" => Self::MapStatus,
            "/bailiwick.v1.RegionMaps/History" => Self::MapHistory,
            "/bailiwick.v1.RegionMaps/Check" => Self::MapCheck,
            "/bailiwick.v1.RegionMaps/Plan" => Self::MapPlan,
            "/bailiwick.v1.RegionMaps/Apply" => Self::MapApply,
            "/bailiwick.v1.Transit/GetKey" => Self::TransitGetKey,
            _ => Self::Other,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "Put",
            Self::Get => "Get",
            Self::List => "List",
            Self::Count => "Count",
            Self::Watch => "Watch",
            Self::Scan => "Scan",
            Self::Delete => "Delete",
            Self::Touch => "Touch",
            Self::Patch => "Patch",
            Self::StreamPut => "StreamPut",
            Self::StreamPutItem => "StreamPutItem",
            Self::BatchGet => "BatchGet",
            Self::BatchPut => "BatchPut",
            Self::BatchDelete => "BatchDelete",
            Self::BatchItem => "BatchItem",
            Self::Upload => "Upload",
            Self::Download => "Download",
            Self::Stat => "Stat",
            Self::Create => "Create",
            Self::ResolvePlacement => "ResolvePlacement",
            Self::SubjectGet => "SubjectGet",
            Self::SubjectLocate => "SubjectLocate",
            Self::SubjectReassess => "SubjectReassess",
            Self::SubjectRelocate => "SubjectRelocate",
            Self::SubjectAdjudicate => "SubjectAdjudicate",
            Self::SubjectConfirmAdjudication => "SubjectConfirmAdjudication",
            Self::OperationGet => "OperationGet",
            Self::OperationList => "OperationList",
            Self::OperationCancel => "OperationCancel",
            Self::SubjectExport => "SubjectExport",
            Self::SubjectErase => "SubjectErase",
            Self::SubjectRotateKey => "SubjectRotateKey",
            Self::SubjectBlock => "SubjectBlock",
            Self::SubjectUnblock => "SubjectUnblock",
            Self::MapGet => "MapGet",
            Self::MapStatus => "MapStatus",
            Self::MapHistory => "MapHistory",
            Self::MapCheck => "MapCheck",
            Self::MapPlan => "MapPlan",
            Self::MapApply => "MapApply",
            Self::TransitGetKey => "TransitGetKey",
            Self::Other => "Other",
        }
    }
}

impl Label for Method {
    const KEY: &'static str = "method";

    fn value(&self) -> &str {
        self.as_str()
    }
}
