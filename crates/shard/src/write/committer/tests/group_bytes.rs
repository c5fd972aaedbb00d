//! Whatever the sizes of bodies, subjects and counters: each group fits into the engine's batch,
//! which refuses one that does not, and with it every write of the group.

use atlas::RegionMap;

use super::*;

/// The next number below `below` of a seed's sequence (SplitMix64).
fn next(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % below as u64).expect("below a usize")
}

/// A committer whose map allows bodies of the largest size.
fn stage(disk: &Disk) -> Stage {
    let mut stage = Stage::new(disk);
    let rules = "name = \"profiles\"\n";
    let most = format!("{rules}body_bytes_max = {}\n", limits::BODY_BYTES_MAX);
    let map = RegionMap::parse(&testing::MAP.replace(rules, &most)).expect("a map");
    let node = &stage.committer.node;
    stage.committer.rules = Rules::new(Arc::new(map), node.region.clone(), node.territory);
    stage
}

/// A subject that stands already, with so many rulings on so many findings each. Gives the bytes of
/// its row.
fn subject(stage: &Stage, name: &str, rulings: usize, besides: usize) -> usize {
    let node = &stage.committer.node;
    let owner = stage.address(name).owner;
    let (region, keyring, entropy) = (&node.region, &*node.keyring, &*node.entropy);
    let made = Subject::create(&owner, region, keyring, entropy, created_by());
    let mut made = made.expect("a subject");
    let basis = findings(besides);
    let standing = |n| {
        let name = if n == 0 { "profiles".to_owned() } else { format!("c{n}") };
        let collection = Collection::parse(&name).expect("a name");
        Standing { collection, basis: basis.clone(), mirrors: vec![], minute: Minute(1) }
    };
    let standings = (0..rulings).map(standing).collect();
    made.stand(standings, &owner, node.subject_keys(), &*node.entropy).expect("keys");
    made.findings = basis.clone();
    let bytes = made.seal(&owner, region, [1; 12]).len();
    node.subjects.insert(owner.tag, Arc::new(made));
    bytes
}

/// Counts reads of so many collections with the longest names, and has them written.
fn count_reads(stage: &Stage, collections: usize) {
    let Committer { counts, rules, .. } = &stage.committer;
    let who = asker(Role::Reader, None).who;
    let epoch = rules.epoch();
    for n in 0..collections {
        let name = format!("{:x<63}", format!("c{n}-"));
        let collection = Collection::parse(&name).expect("a name");
        assert!(counts.add(epoch, &who, &collection, 1));
    }
    assert!(stage.queue.weak().write_counts());
}

#[test]
fn a_group_fits_the_batch_whatever_it_is_made_of() {
    const CASES: u64 = 24;
    const BYTES_MIN: usize = engine::BATCH_BYTES_MAX + (engine::BATCH_BYTES_MAX >> 2);
    let mut split = 0;
    for case in 0..CASES {
        let (mut seed, stage) = (case, stage(&Disk::new(case)));
        // From subjects alone to bodies alone.
        let share = next(&mut seed, 5);
        let (mut bytes, mut writes) = (0, 0);
        while bytes < BYTES_MIN && writes < limits::COMMIT_WRITES_MAX {
            let name = format!("p{writes}");
            let mut body = Vec::new();
            if next(&mut seed, 4) < share {
                let below = [1, 512, 1 << 16, 1 << 20, limits::BODY_BYTES_MAX + 1];
                let below = below[next(&mut seed, below.len())];
                body.resize(next(&mut seed, below), 7);
            }
            if next(&mut seed, 4) >= share {
                let rulings = 1 + next(&mut seed, limits::RULINGS_PER_SUBJECT_MAX);
                bytes += subject(&stage, &name, rulings, next(&mut seed, 254));
            }
            bytes += body.len();
            stage.put_body(&name, 1, findings(limits::FINDINGS_KEPT_MAX - 1), &body);
            writes += 1;
        }
        // As many counters as there may be, in the same group.
        count_reads(&stage, 4_096);
        let (left, said) = stage.run();
        assert_eq!(said.len(), writes);
        let other = said.iter().find(|said| **said != "written");
        assert!(other.is_none(), "case {case}, {writes} writes: {other:?}");
        assert_eq!(left.life, Life::Serving);
        split += u64::from(left.node.metrics.commits.get() > 1);
    }
    assert!(split > CASES / 2, "{split} of the cases needed more than one group");
}

#[test]
fn a_group_of_the_largest_subjects_is_split_and_none_of_it_is_busy() {
    const SUBJECTS: usize = 1_500;
    let stage = Stage::new(&Disk::new(1));
    let node = Arc::clone(&stage.committer.node);
    // Subjects with as many rulings as one may have, each on as many findings as are kept.
    let basis = findings(limits::FINDINGS_KEPT_MAX - 2);
    let standings: Vec<Standing> = (0..limits::RULINGS_PER_SUBJECT_MAX)
        .map(|n| {
            let name = if n == 0 { "profiles".to_owned() } else { format!("c{n}") };
            let collection = Collection::parse(&name).expect("a name");
            Standing { collection, basis: basis.clone(), mirrors: vec![], minute: Minute(1) }
        })
        .collect();
    let by = created_by();
    let mut bytes = 0;
    for n in 0..SUBJECTS {
        let owner = stage.address(&format!("p{n}")).owner;
        let subject = Subject::create(&owner, &node.region, &*node.keyring, &*node.entropy, by);
        let mut subject = subject.expect("a subject");
        subject.findings = basis.clone();
        let (keys, entropy) = (node.subject_keys(), &*node.entropy);
        subject.stand(standings.clone(), &owner, keys, entropy).expect("keys");
        if n == 0 {
            bytes = subject.seal(&owner, &node.region, [1; 12]).len();
        }
        node.subjects.insert(owner.tag, Arc::new(subject));
        // One finding more: the subject's row is written again, whole.
        stage.put(&format!("p{n}"), 1, findings(limits::FINDINGS_KEPT_MAX - 1));
    }
    assert!(bytes * SUBJECTS > engine::BATCH_BYTES_MAX, "{bytes} bytes a subject");
    let (left, said) = stage.run();
    assert_eq!(said.len(), SUBJECTS);
    assert!(said.iter().all(|said| *said == "written"), "{:?}", said.first());
    assert_eq!(left.life, Life::Serving);
    assert!(left.node.metrics.commits.get() > 1);
}
