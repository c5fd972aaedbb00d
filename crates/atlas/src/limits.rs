//! The limits of maps, annexes, packs and people files.

/// Further scopes of a statute pack.
pub const SCOPES_MAX: usize = 16;
/// Bytes of a map. One with every limit below reached fits.
pub const MAP_BYTES_MAX: usize = 10 << 20;
/// Bytes of an annex.
pub const ANNEX_BYTES_MAX: usize = 1 << 20;
/// Bytes of a statute pack.
pub const PACK_BYTES_MAX: usize = 1 << 20;
/// Lines of any of them. A map with every limit below reached has fewer, if its lists are short.
pub const LINES_MAX: usize = 400_000;
/// Items of one list.
pub const LIST_ITEMS_MAX: usize = 4_096;
/// Tenants of a map.
pub const TENANTS_MAX: usize = 10_000;
/// Collections of a map.
pub const COLLECTIONS_MAX: usize = 1_024;
/// Attributes of a collection, and of a record.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of an attribute's name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 63;
/// Bytes of a text that an attribute has as its value.
pub const ATTRIBUTE_TEXT_BYTES_MAX: usize = 256;
/// Bytes of a filter.
pub const FILTER_BYTES_MAX: usize = 8 << 10;
/// Comparisons of a filter.
pub const FILTER_COMPARISONS_MAX: usize = 32;
/// Values in all comparisons of a filter.
pub const FILTER_VALUES_MAX: usize = 128;
/// Parentheses of a filter within one another.
pub const FILTER_DEPTH_MAX: usize = 16;
/// Regions of a map.
pub const REGIONS_MAX: usize = 1_024;
/// Homes of a map: every country and every group can have one.
pub const HOMES_MAX: usize = 512;
/// Statutes of a map.
pub const STATUTES_MAX: usize = 256;
/// Transfer clauses of a map.
pub const CLAUSES_MAX: usize = 10_000;
/// Disputed areas of a map.
pub const DISPUTED_MAX: usize = 1_024;
/// Shards of an annex: one for each slot.
pub const SHARDS_MAX: usize = 1_024;
/// Rules of a pack, and exemptions of one.
pub const FACTS_MAX: usize = 256;
/// Days, working days or months of a term of erasure.
pub const ERASURE_TERM_MAX: u64 = 366;
/// Working days of a wait.
pub const WORKING_DAYS_MAX: u64 = 366;
/// Bytes of a file of people with expected answers.
pub const PEOPLE_BYTES_MAX: usize = 4 << 20;
/// People of such a file.
pub const PEOPLE_MAX: usize = 10_000;
/// Diagnostics that are shown of one file. One more says how many are not.
pub const DIAGNOSTICS_SHOWN_MAX: usize = 1_000;
