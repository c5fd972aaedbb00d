//! What changes while a process runs.

use std::time::Duration;

use super::*;

/// A gateway's view of one shard, and the folder of its files.
struct Met {
    folder: tempfile::TempDir,
    eu: Ca,
    ru: Ca,
    gateway: Tls,
    leaf: Leaf,
    hand: Arc<Hand>,
}

fn met(next: &Ca) -> Met {
    let (eu, ru) = (Ca::new("eu"), Ca::new("ru"));
    let folder = tempfile::tempdir().unwrap();
    let pins = pins(&[("eu-fra", &[&eu]), ("ru-msk", &[&ru, next])]);
    let files = files(folder.path(), &eu.leaf(&[GATEWAY]), &[&eu, &ru], &[ru.list(&[], 2030)]);
    let hand = clock();
    let expect = Expected { kind: PeerKind::Gateway, region: region("eu-fra") };
    let gateway =
        Tls::open(files, pins, expect, Arc::<Hand>::clone(&hand), TlsMetrics::default()).unwrap();
    let leaf = ru.leaf(&[SHARD]);
    Met { folder, eu, ru, gateway, leaf, hand }
}

impl Met {
    fn chain(leaf: &Leaf) -> rustls::pki_types::CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_slice(leaf.pem.as_bytes()).unwrap()
    }

    fn peer(&self, leaf: &Leaf) -> Result<Peer, crate::tls::Cause> {
        let (_config, ours) = self.gateway.server();
        self.gateway.peer(&[Self::chain(leaf)], false, ours)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Whether the peer is distrusted, once the files were looked at.
    async fn ends(&self, peer: &Peer) -> bool {
        self.ends_within(Duration::from_secs(60), peer).await
    }

    /// Whether it is trusted still, after a few looks at them.
    async fn stays(&self, peer: &Peer) -> bool {
        !self.ends_within(Duration::from_secs(4), peer).await
    }

    async fn ends_within(&self, time: Duration, peer: &Peer) -> bool {
        let watch = async {
            tokio::select! {
                () = self.gateway.until_distrusted(peer) => {}
                () = self.gateway.keep() => {}
            }
        };
        tokio::time::timeout(time, watch).await.is_ok()
    }
}

#[tokio::test]
async fn a_revocation_ends_a_session_that_is_up() {
    let met = met(&Ca::new("next"));
    let peer = met.peer(&met.leaf).unwrap();
    assert!(met.gateway.trusts(&peer));
    assert!(met.stays(&peer).await, "nothing has changed");
    met.write("revoked.pem", &met.ru.list(&[&met.leaf], 2030));
    assert!(met.ends(&peer).await);
    assert!(!met.gateway.trusts(&peer));
}

#[tokio::test]
async fn a_withdrawn_authority_ends_what_it_has_issued() {
    let next = Ca::new("next");
    let met = met(&next);
    let peer = met.peer(&met.leaf).unwrap();
    let renewed = next.leaf(&[SHARD]);
    assert!(met.peer(&renewed).is_err(), "the new authority is pinned, and not there yet");
    met.write("authorities.pem", &format!("{}{}{}", met.eu.pem, met.ru.pem, next.pem));
    assert!(met.stays(&peer).await, "both are trusted during the change");
    let renewed = met.peer(&renewed).unwrap();
    met.write("authorities.pem", &format!("{}{}", met.eu.pem, next.pem));
    assert!(met.ends(&peer).await);
    assert!(met.gateway.trusts(&renewed));
}

#[tokio::test]
async fn a_certificate_that_ends_ends_its_session() {
    let met = met(&Ca::new("next"));
    let peer = met.peer(&met.leaf).unwrap();
    // 2027-01-01 is its end.
    met.hand.0.store(1_798_761_599, Ordering::Relaxed);
    assert!(met.gateway.trusts(&peer));
    met.hand.0.store(1_798_761_600, Ordering::Relaxed);
    assert!(!met.gateway.trusts(&peer));
    assert!(met.ends(&peer).await);
}

#[tokio::test]
async fn a_new_certificate_of_our_own_is_told_to_sessions_that_saw_the_old_one() {
    let met = met(&Ca::new("next"));
    let peer = met.peer(&met.leaf).unwrap();
    let renewed = async |peer: &Peer| {
        let wait = met.gateway.until_renewed(peer);
        tokio::time::timeout(Duration::from_millis(50), wait).await.is_ok()
    };
    assert!(met.gateway.reload() && !renewed(&peer).await, "the same certificate, read again");
    // Another authority's list says nothing of our own certificate.
    met.write("revoked.pem", &met.ru.list(&[&met.leaf], 2030));
    assert!(met.gateway.reload() && !renewed(&peer).await);
    met.write("revoked.pem", &met.ru.numbered(&[], 2025..2030, 2));
    let new = met.eu.leaf(&[GATEWAY]);
    met.write("certificate.pem", &new.pem);
    assert!(!met.gateway.reload() && !renewed(&peer).await, "its key is not there yet");
    met.write("key.pem", &new.key);
    assert!(met.gateway.reload() && renewed(&peer).await);
    assert!(!renewed(&met.peer(&met.leaf).unwrap()).await, "a session that saw the new one");
}

#[tokio::test]
async fn a_bad_file_leaves_what_was_in_use() {
    let met = met(&Ca::new("next"));
    let peer = met.peer(&met.leaf).unwrap();
    for name in ["certificate.pem", "key.pem", "authorities.pem", "revoked.pem"] {
        let path = met.folder.path().join(name);
        let before = std::fs::read_to_string(&path).unwrap();
        met.write(name, "not what it should be");
        met.gateway.reload();
        assert!(met.gateway.trusts(&peer), "{name}");
        met.write(name, &before);
    }
    let refused = met.gateway.metrics().failures();
    assert_eq!(refused, 4);
    let renewed = met.eu.leaf(&[GATEWAY]);
    met.write("certificate.pem", &renewed.pem);
    met.write("key.pem", &renewed.key);
    met.gateway.reload();
    assert_eq!(met.gateway.metrics().failures(), 4);
}

#[tokio::test]
async fn a_revocation_holds_although_our_own_files_are_wrong() {
    for name in ["certificate.pem", "key.pem", "authorities.pem"] {
        let met = met(&Ca::new("next"));
        let peer = met.peer(&met.leaf).unwrap();
        let other = met.ru.leaf(&[SHARD]);
        let other = met.peer(&other).unwrap();
        met.write(name, "not what it should be");
        met.write("revoked.pem", &met.ru.list(&[&met.leaf], 2030));
        met.gateway.reload();
        assert_eq!(met.gateway.metrics().failures(), 1, "{name}");
        assert!(!met.gateway.trusts(&peer), "{name}");
        assert!(met.gateway.trusts(&other), "{name}: the authorities stay as they were");
    }
}

#[test]
fn the_list_of_a_namesake_says_nothing_of_others() {
    use crate::tls::Cause;
    // The region's old authority and its new one bear the same name.
    let next = Ca::new("ru");
    let met = met(&next);
    let renewed = next.leaf(&[SHARD]);
    let refused = |leaf| met.peer(leaf).map(|peer| peer.id).unwrap_err();
    met.write("authorities.pem", &format!("{}{}{}", met.eu.pem, met.ru.pem, next.pem));
    let old = met.ru.list(&[&met.leaf], 2030);
    met.write("revoked.pem", &format!("{old}{}", next.list(&[], 2030)));
    assert!(met.gateway.reload());
    assert_eq!(met.peer(&renewed).unwrap().id, shard_id());
    assert_eq!(refused(&met.leaf), Cause::Revoked);
    // Without a list of its own: the old one's is still not its.
    met.write("revoked.pem", &old);
    assert!(met.gateway.reload());
    assert_eq!(met.peer(&renewed).unwrap().id, shard_id());
    // Of two lists of one authority the later one holds, wherever it stands.
    let later = next.list_of(&[&renewed], 2026..2030);
    for both in [[&later, &next.list(&[], 2030)], [&next.list(&[], 2030), &later]] {
        met.write("revoked.pem", &both.map(String::as_str).concat());
        assert!(met.gateway.reload());
        assert_eq!(refused(&renewed), Cause::Revoked);
    }
}

#[test]
fn what_is_revoked_stays_revoked_whatever_becomes_of_the_file() {
    use crate::tls::Cause;
    let met = met(&Ca::new("next"));
    let refused = || met.peer(&met.leaf).map(|peer| peer.id).unwrap_err();
    let (eu, years) = (met.eu.list(&[], 2031), 2026..2030);
    let whole = format!("{eu}{}", met.ru.numbered(&[&met.leaf], years.clone(), 300));
    met.write("revoked.pem", &whole);
    assert!(met.gateway.reload());
    assert_eq!(refused(), Cause::Revoked);
    let end_2030 = 1_893_456_000;
    assert_eq!(met.gateway.metrics().lists(), (end_2030, 0));
    // Another authority's list alone; an older copy; an older number with a later date.
    for (file, kept) in [
        (eu.clone(), 1),
        (format!("{eu}{}", met.ru.numbered(&[], 2025..2040, 299)), 1),
        (format!("{eu}{}", met.ru.numbered(&[], 2028..2040, 7)), 1),
        (whole, 0),
    ] {
        met.write("revoked.pem", &file);
        assert!(met.gateway.reload());
        assert_eq!(refused(), Cause::Revoked);
        assert_eq!(met.gateway.metrics().lists(), (end_2030, kept));
    }
    // The same holds when other files are wrong.
    met.write("key.pem", "not a key");
    met.write("revoked.pem", &eu);
    assert!(!met.gateway.reload());
    assert_eq!(refused(), Cause::Revoked);
    // A later one holds, with a number of more bytes, too.
    met.write("revoked.pem", &format!("{eu}{}", met.ru.numbered(&[], years, 70_000)));
    assert!(!met.gateway.reload());
    assert!(met.peer(&met.leaf).is_ok());
}

#[test]
fn a_list_that_ends_is_seen_without_a_change() {
    let met = met(&Ca::new("next"));
    met.write("revoked.pem", &met.ru.list(&[], 2027));
    assert!(met.gateway.reload());
    // A certificate that lasts longer than the list.
    let lasting = met.ru.leaf_of(&[SHARD], 2026..2029, true);
    let peer = met.peer(&lasting).unwrap();
    assert!(met.gateway.trusts(&peer));
    // 2027-01-01 is the list's end.
    met.hand.0.store(1_798_761_601, Ordering::Relaxed);
    assert!(!met.gateway.trusts(&peer));
}

#[test]
fn a_list_that_cannot_be_found_in_its_file_revokes_nobody_less() {
    use crate::tls::Cause;
    let met = met(&Ca::new("next"));
    let refused = |leaf| met.peer(leaf).map(|peer| peer.id).unwrap_err();
    let (eu, other) = (met.eu.list(&[], 2030), met.ru.leaf(&[SHARD]));
    met.write("revoked.pem", &format!("{eu}{}", met.ru.numbered(&[&met.leaf], 2026..2030, 2)));
    assert!(met.gateway.reload());
    let next = met.ru.numbered(&[&met.leaf, &other], 2026..2030, 3);
    for (failures, file) in (1..).zip([
        format!("{}{next}", eu.trim_end()),
        format!("{eu} {next}"),
        format!("{eu}\u{feff}{next}"),
        format!("{eu}{}", next.trim_end().trim_end_matches('-')),
        format!("{eu}{}", next.replacen("-----BEGIN", "----BEGIN", 1)),
        format!("{next}{}", met.eu.pem),
    ]) {
        met.write("revoked.pem", &file);
        assert!(!met.gateway.reload(), "{file}");
        assert_eq!(refused(&met.leaf), Cause::Revoked, "what was read before holds");
        assert!(met.peer(&other).is_ok(), "and nothing else");
        assert_eq!(met.gateway.metrics().failures(), failures);
        assert_eq!(met.gateway.metrics().files_are_refused(), 1);
    }
    met.write("revoked.pem", &format!("{eu}{next}").replace('\n', "\r\n"));
    assert!(met.gateway.reload());
    assert_eq!(refused(&other), Cause::Revoked);
    assert_eq!(met.gateway.metrics().files_are_refused(), 0);
}

#[test]
fn of_two_lists_the_number_decides_and_then_what_they_revoke() {
    use crate::tls::Cause;
    let met = met(&Ca::new("next"));
    let (one, other) = (&met.leaf, &met.ru.leaf(&[SHARD]));
    let (early, late) = (&(2025..2030), &(2026..2031));
    let list = |revoked: &[&Leaf], years: &Range<i32>, number| {
        met.ru.numbered(revoked, years.clone(), number)
    };
    // A higher number, issued in the same second or long before.
    for (number, pair) in (10..).step_by(10).zip([(early, early), (late, early)]) {
        let (older, newer) = (list(&[], pair.0, number), list(&[one], pair.1, number + 1));
        for both in [[&older, &newer], [&newer, &older]] {
            met.write("revoked.pem", &both.map(String::as_str).concat());
            assert!(met.gateway.reload());
            assert_eq!(met.peer(one).map(|peer| peer.id), Err(Cause::Revoked));
        }
    }
    // The same number: more revocations, and then the later of the two.
    let (more, fewer) = (list(&[one, other], early, 30), list(&[one], late, 30));
    for both in [[&more, &fewer], [&fewer, &more]] {
        met.write("revoked.pem", &both.map(String::as_str).concat());
        assert!(met.gateway.reload());
        assert_eq!(met.peer(other).map(|peer| peer.id), Err(Cause::Revoked));
    }
    met.write("revoked.pem", &fewer);
    assert!(met.gateway.reload());
    assert_eq!(met.peer(other).map(|peer| peer.id), Err(Cause::Revoked), "in a later file");
    let end_2031 = 1_924_992_000;
    met.write("revoked.pem", &format!("{more}{}", list(&[one, other], late, 30)));
    assert!(met.gateway.reload());
    assert_eq!(met.gateway.metrics().lists(), (end_2031, 0));
    // Neither holds the other's.
    met.write("revoked.pem", &format!("{}{}", list(&[one], early, 31), list(&[other], late, 31)));
    assert!(!met.gateway.reload());
    assert_eq!(met.peer(other).map(|peer| peer.id), Err(Cause::Revoked));
}
