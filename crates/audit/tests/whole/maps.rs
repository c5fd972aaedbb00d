//! A log against its region maps: signatures, succession, laws and clauses.

use std::fs;
use std::path::Path;

use atlas::{RegionMap, SignedMap, statement};
use audit::{Against, Maps, verify};
use ledger::Signers;
use ledger::entry::{Call, Copied, Entry, EvidenceKinds, Kind, MapRef, Role, Ruled};
use ledger::note::{Signer, sign};

use crate::support::{Log, call, signer};

const ORIGIN: &str = "sample/ru-msk/a/1";
/// 2026-03-01.
const MINUTE: u32 = 20_513 * 1_440;

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/sample/map.toml");
    fs::read_to_string(path).expect("the sample map")
}

/// The map that follows one, with an edit.
fn next(before: &str, edit: impl FnOnce(String) -> String) -> String {
    let epoch = RegionMap::parse(before).expect("a map").epoch();
    let digest = hex::encode(epoch.digest);
    let version = format!("version = {}\n", epoch.number);
    let more = format!("version = {}\npredecessor = \"sha256:{digest}\"\n", epoch.number + 1);
    let rest = before.lines().filter(|line| !line.starts_with("predecessor"));
    let rest: String = rest.flat_map(|line| [line, "\n"]).collect();
    edit(rest.replace(&version, &more))
}

/// Takes a clause away: nothing more is allowed than before.
fn narrower(map: String) -> String {
    let (before, _) = map.split_once("[[clauses]]\nid = \"eea-kz\"").expect("the last clause");
    before.to_owned()
}

fn people() -> [Signer; 2] {
    ["anna", "boris"].map(|name| {
        let seed = [u8::try_from(name.len()).expect("short"); 32];
        Signer::from_seed(name, &seed).expect("a name")
    })
}

/// A map with the signatures of so many people.
fn signed(text: &str, by: usize) -> SignedMap {
    let map = RegionMap::parse(text).expect("a map");
    let people = people();
    let by: Vec<&Signer> = people.iter().take(by).collect();
    let note =
        if by.is_empty() { String::new() } else { sign(&statement(&map), &by).expect("a note") };
    SignedMap { text: text.to_owned(), note, packs: Vec::new() }
}

fn map_ref(text: &str) -> MapRef {
    let epoch = RegionMap::parse(text).expect("a map").epoch();
    MapRef { epoch: epoch.number, digest: epoch.digest }
}

fn taken(text: &str, by: &[&str]) -> Entry {
    let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
    Entry::map_taken(MINUTE, map_ref(text), &by)
}

/// A write under a map, with laws and clauses.
fn write(text: &str, minute: u32, lists: [&[&str]; 3]) -> Entry {
    let [jurisdictions, statutes, clauses] =
        lists.map(|list| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let (evidence_kinds, map) = (EvidenceKinds::new(), map_ref(text));
    let caller = call(Kind::Place, minute).caller;
    let of = Call { tenant_tag: None, caller: caller.as_ref(), collection: Some("profiles"), map };
    let mut entry = Entry::of_call(Kind::Place, minute, of);
    entry.rule(Ruled {
        jurisdictions: &jurisdictions,
        statutes: &statutes,
        clauses: &clauses,
        evidence_kinds,
        map,
    });
    entry
}

/// An operator's question, by a plan, about a map that no shard has taken.
fn question(text: &str) -> Entry {
    let mut caller = call(Kind::Count, MINUTE).caller;
    caller.as_mut().expect("a caller").role = Role::Operator;
    let map = map_ref(text);
    let of = Call { tenant_tag: None, caller: caller.as_ref(), collection: None, map };
    Entry::question(MINUTE, of, 10, "a plan: standing rulings made again")
}

/// Keeps maps beside mirrors, as `audit mirror` does.
fn keep(place: &Path, maps: &[SignedMap]) {
    let folder = place.join("maps");
    fs::create_dir_all(&folder).expect("room");
    for map in maps {
        let epoch = RegionMap::parse(&map.text).expect("a map").epoch();
        let digest = hex::encode(&epoch.digest[..8]);
        let path = folder.join(format!("{}-{digest}.toml", epoch.number));
        fs::write(path.with_extension("note"), &map.note).expect("room");
        fs::write(path, &map.text).expect("room");
    }
}

/// What is wrong with the entries after GENESIS, by their numbers; and how many name no map that
/// is here.
fn found(entries: &[Entry], maps: &[SignedMap], with_keys: bool) -> (Vec<String>, u64) {
    found_in(ORIGIN, entries, maps, with_keys)
}

/// The same, of a log of that origin.
fn found_in(
    origin: &str,
    entries: &[Entry],
    maps: &[SignedMap],
    with_keys: bool,
) -> (Vec<String>, u64) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = Log::of(origin, entries);
    let genesis = Entry::genesis(entries[0].minute, &signer(origin).vkey(), Vec::new());
    log.entries[0] = genesis.encode().expect("an entry");
    let folder = log.write(&dir.path().join("ru-msk.a.1"));
    keep(dir.path(), maps);
    let keys = people().map(|signer| signer.vkey());
    let signers = Signers::parse(keys.iter().map(String::as_str)).expect("two keys");
    let signers = with_keys.then_some(&signers);
    // From the place of the mirrors, and from the log's own folder.
    let maps = Maps::beside(dir.path(), signers).expect("maps");
    let again = Maps::beside(folder.path(), signers).expect("maps");
    assert_eq!(maps.all().count(), again.all().count());
    let against = Against { policy: None, maps: Some(&maps) };
    let verified = verify(&folder, against, &mut |_, _| {}).expect("it is as it was signed");
    let missing = verified.maps_missing.iter().map(|(_, entries)| entries).sum();
    (verified.broken.iter().map(ToString::to_string).collect(), missing)
}

/// One entry is wrong, and in these words.
fn wrong(entries: &[Entry], maps: &[SignedMap], at: usize, says: &str) {
    let (broken, missing) = found(entries, maps, true);
    let [only] = &broken[..] else { panic!("{broken:?}, expected {says}") };
    let file = format!("tile/entries/000.p/{} entry {at} ", entries.len() + 1);
    assert!(only.starts_with(&file) && only.contains(says), "{only}\nexpected {says}");
    assert_eq!(missing, 0);
}

const RU: [&[&str]; 3] = [&["RU"], &["ru-152fz"], &[]];
const BOTH: [&str; 2] = ["anna", "boris"];

#[test]
fn a_log_that_keeps_its_maps_has_no_findings() {
    let first = sample();
    let second = next(&first, narrower);
    let entries = [
        taken(&first, &BOTH),
        write(&first, MINUTE, RU),
        write(&first, MINUTE, [&["EEA"], &["eu-gdpr"], &["eea-ru"]]),
        taken(&second, &["boris"]),
        write(&second, MINUTE, RU),
        question(&next(&second, |map| map)),
    ];
    let maps = [signed(&first, 2), signed(&second, 1)];
    assert_eq!(found(&entries, &maps, true), (vec![], 0));
    // Without keys no signature is looked at, and with no map nothing is: which is said.
    let unsigned = [signed(&first, 0), signed(&second, 0)];
    assert_eq!(found(&entries, &unsigned, false), (vec![], 0));
    assert_eq!(found(&entries, &maps[..1], true), (vec![], 2));
    assert_eq!(found(&entries, &[], true), (vec![], 5));
}

#[test]
fn laws_and_clauses_are_in_the_map_and_in_force() {
    let map = sample();
    let maps = [signed(&map, 2)];
    let one = |minute, lists, says| {
        let begin = Entry { minute, ..taken(&map, &BOTH) };
        wrong(&[begin, write(&map, minute, lists)], &maps, 2, says);
    };
    let eea: [&[&str]; 2] = [&["EEA"], &["eu-gdpr"]];
    one(MINUTE, [&["RU"], &["ru-152fz", "ru-999"], &[]], "statute ru-999, which its map does not");
    one(MINUTE, [&["RU"], &["in-rbi"], &[]], "statute in-rbi, which does not cover its collection");
    one(MINUTE, [&["KZ", "RU"], &["ru-152fz"], &[]], "jurisdiction KZ, and no statute of it");
    one(MINUTE, [&[], &["ru-152fz"], &[]], "a statute of RU, and not that jurisdiction");
    one(MINUTE, [eea[0], eea[1], &["eea-us"]], "clause eea-us, which its map does not have");
    // 2100-01-01: the clause has ended. 2016: the regulation has not begun.
    let (late, early) = (47_482 * 1_440, 16_900 * 1_440);
    one(late, [eea[0], eea[1], &["eea-ru"]], "clause eea-ru, which is not in force on 2100-01-01");
    one(early, [eea[0], eea[1], &[]], "statute eu-gdpr, which is not in force on 2016-04-09");
}

/// What the sample map states of each of its clauses.
const REFERENCE: &str = "INVENTED FOR THE EXAMPLE";

/// An entry about a copy under a map: sent to that region if it has no home, and came from there if it has.
fn copy(
    text: &str,
    collection: &str,
    lists: [&[&str]; 3],
    references: &[&str],
    ends: (&str, Option<&str>),
) -> Entry {
    let [jurisdictions, statutes, clauses] =
        lists.map(|list| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let (map, caller) = (map_ref(text), call(Kind::CopyOut, MINUTE).caller);
    let tenant_tag = Some([3; 16]);
    let call = Call { tenant_tag, caller: caller.as_ref(), collection: Some(collection), map };
    let ruled = Ruled {
        jurisdictions: &jurisdictions,
        statutes: &statutes,
        clauses: &clauses,
        evidence_kinds: EvidenceKinds::new(),
        map,
    };
    let (region, home) = ends;
    let copied = Copied { call, ruled, references, region, commitment: [7; 32] };
    match home {
        Some(log) => Entry::copy_in(MINUTE, copied, (log, 2), None),
        None => Entry { earlier: Some(2), ..Entry::copy_out(MINUTE, copied) },
    }
}

const KZ_RU: [&[&str]; 3] = [&["KZ", "RU"], &["kz-94v", "ru-152fz"], &["ru-kz"]];

#[test]
fn a_copy_goes_where_a_law_asks_for_it_and_each_law_lets_it() {
    let map = sample();
    let maps = [signed(&map, 2)];
    let of = |lists, references: &[&str], region| {
        let sent = copy(&map, "profiles", lists, references, (region, None));
        [taken(&map, &BOTH), write(&map, MINUTE, KZ_RU), sent]
    };
    assert_eq!(found(&of(KZ_RU, &[REFERENCE], "kz-ala"), &maps, true), (vec![], 0));
    let came = |home, log| {
        let came = copy(&map, "profiles", KZ_RU, &[REFERENCE], (home, Some(log)));
        found_in("sample/kz-ala/a/1", &[taken(&map, &BOTH), came], &maps, true)
    };
    assert_eq!(came("ru-msk", ORIGIN), (vec![], 0));
    let (broken, _) = came("nowhere", "sample/nowhere/a/1");
    assert!(broken[0].contains("names region nowhere, which its map does not have"), "{broken:?}");

    let one = |lists, references: &[&str], region, says| {
        wrong(&of(lists, references, region), &maps, 3, says);
    };
    let [both, laws, _] = KZ_RU;
    let no_clause = "no clause that it names covers a transfer from RU";
    one([both, laws, &[]], &[], "kz-ala", no_clause);
    one([both, laws, &["eea-kz"]], &[REFERENCE], "kz-ala", no_clause);
    one([&["RU"], &["ru-152fz"], &["ru-kz"]], &[REFERENCE], "kz-ala", "no law that it names asks");
    one(KZ_RU, &[REFERENCE], "in-bom", "no law that it names asks");
    one(KZ_RU, &[REFERENCE], "nowhere", "names region nowhere, which its map does not have");
    one(KZ_RU, &["another"], "kz-ala", "other references than its clauses have");
}

#[test]
fn no_copy_leaves_a_law_that_allows_none() {
    let map = sample();
    let lists: [&[&str]; 3] = [&["IN", "KZ"], &["in-rbi", "kz-94v"], &[]];
    let sent = copy(&map, "payments", lists, &[], ("kz-ala", None));
    let log = [taken(&map, &BOTH), write(&map, MINUTE, RU), sent];
    let (broken, _) = found_in("sample/in-bom/a/1", &log, &[signed(&map, 2)], true);
    let [only] = &broken[..] else { panic!("{broken:?}") };
    assert!(only.contains("copies what in-rbi allows no copy of outside of IN"), "{only}");
}

#[test]
fn what_a_map_excludes_from_the_region_does_not_lie_there() {
    let name = "name = \"profiles\"\n";
    let excluding = |site: &str| {
        let map = sample().replacen(name, &format!("{name}exclude.regions = [\"{site}\"]\n"), 1);
        assert_ne!(map, sample());
        map
    };
    let (here, elsewhere) = (excluding("ru-msk"), excluding("kz-ala"));
    let log = |map: &str| [taken(map, &BOTH), write(map, MINUTE, RU)];
    let says = "of collection profiles, which its map excludes from ru-msk";
    wrong(&log(&here), &[signed(&here, 2)], 2, says);
    assert_eq!(found(&log(&elsewhere), &[signed(&elsewhere, 2)], true), (vec![], 0));
}

#[test]
fn a_clause_that_excludes_the_region_leads_nothing_there() {
    let eea: [&[&str]; 2] = [&["EEA"], &["eu-gdpr"]];
    let id = "id = \"eea-ru\"\n";
    let excluding = |site: &str| {
        let map = sample().replacen(id, &format!("{id}exclude.regions = [\"{site}\"]\n"), 1);
        assert_ne!(map, sample());
        map
    };
    let log = |map: &str, clauses: &[&str]| {
        [taken(map, &BOTH), write(map, MINUTE, [eea[0], eea[1], clauses])]
    };
    let (here, elsewhere) = (excluding("ru-msk"), excluding("kz-ala"));
    let says = "relies on clause eea-ru, which excludes ru-msk";
    wrong(&log(&here, &["eea-ru"]), &[signed(&here, 2)], 2, says);
    // An entry that stores nothing, and says the same, was right.
    let [taken_here, stored] = log(&here, &["eea-ru"]);
    let reassessed = Entry { kind: Kind::Reassess, ..stored.clone() };
    wrong(&[taken_here, reassessed, stored], &[signed(&here, 2)], 3, says);
    // One that leads to another country is no help here.
    wrong(&log(&here, &["eea-kz", "eea-ru"]), &[signed(&here, 2)], 2, says);
    assert_eq!(found(&log(&elsewhere, &["eea-ru"]), &[signed(&elsewhere, 2)], true), (vec![], 0));
    // Another clause of the same law that leads here is: the first may be there for a copy.
    let (_, clause) = here.split_once("[[clauses]]\nid = \"eea-ru\"\n").expect("the clause");
    let clause = clause.split("[[").next().expect("its text");
    let clause = clause.replacen("exclude.regions = [\"ru-msk\"]\n", "", 1);
    let two = here.clone() + "\n[[clauses]]\nid = \"eea-ru-2\"\n" + &clause;
    let both = log(&two, &["eea-ru", "eea-ru-2"]);
    assert_eq!(found(&both, &[signed(&two, 2)], true), (vec![], 0));
}

#[test]
fn maps_follow_each_other_and_have_the_signatures_that_they_need() {
    let first = sample();
    let narrow = next(&first, narrower);
    // What was taken away comes back: that widens.
    let clause = &first[narrower(first.clone()).len()..];
    let wide = next(&narrow, |map| map + clause);
    let log =
        |third: &[&str]| [taken(&first, &BOTH), taken(&narrow, &["anna"]), taken(&wide, third)];
    let maps = |signatures: [usize; 3]| {
        let texts = [&first, &narrow, &wide];
        texts.iter().zip(signatures).map(|(text, by)| signed(text, by)).collect::<Vec<_>>()
    };
    assert_eq!(found(&log(&BOTH), &maps([2, 1, 2]), true), (vec![], 0));
    // One signature in the note, or one that the shard has noted, is one too few.
    wrong(&log(&BOTH), &maps([2, 1, 1]), 3, "MAP_UNSIGNED: the map widens");
    wrong(&log(&["anna"]), &maps([2, 1, 2]), 3, "MAP_UNSIGNED: the map widens");
    wrong(&log(&BOTH), &maps([1, 1, 2]), 1, "it is the first map");
    wrong(&log(&BOTH), &maps([2, 0, 2]), 2, "whose note no given key has signed");
    // The number and the digest are signed, and everything else that the note says is wrong.
    let mut other = maps([2, 1, 2]);
    let told = statement(&RegionMap::parse(&wide).expect("a map")).replace("\nsample\n", "\nx\n");
    other[2].note = sign(&told, &people().iter().collect::<Vec<_>>()).expect("a note");
    wrong(&log(&BOTH), &other, 3, "whose note no given key has signed");
    // One is left out; and one names another before it.
    let skipped = [taken(&first, &BOTH), taken(&wide, &BOTH)];
    wrong(&skipped, &maps([2, 1, 2]), 2, "MAP_GAP");
    let fork = next(&first, |map| narrower(map).replace("sample map", "a map"));
    let forked = [taken(&first, &BOTH), taken(&narrow, &BOTH), taken(&fork, &BOTH)];
    let maps = [signed(&first, 2), signed(&narrow, 2), signed(&fork, 2)];
    wrong(&forked, &maps, 3, "MAP_FORK");
}
