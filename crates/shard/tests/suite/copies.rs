//! Copies that a placement asks for are noted as due, in the commit of the write.

use crate::support::{Place, findings, put_ru, request_id};
use wire::session as proto;

#[tokio::test(flavor = "multi_thread")]
async fn a_placement_with_mirrors_leaves_one_copy_due_for_each() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put = |n, body: &[u8]| proto::Put {
        findings: findings(&[("citizenship", "RU"), ("residence", "KZ")]).into(),
        ..put_ru("anna", "main", body, n)
    };
    session.put(put(1, b"one")).await.unwrap();
    session.put(put(2, b"two")).await.unwrap();
    session.put(put_ru("bert", "main", b"x", 3)).await.unwrap();
    let gone = proto::Delete {
        subject: "anna".into(),
        collection: "profiles".into(),
        key: "main".into(),
        request_id: request_id(4).into(),
        ..Default::default()
    };
    session.delete(gone).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    let due = place.rows(&[0x20]);
    assert_eq!(due.len(), 1);
    let (key, row) = &due[0];
    assert_eq!(&key[1..11], b"\0\0\0\x06kz-ala");
    assert_eq!(u64::from_be_bytes(row[1..9].try_into().unwrap()), 3, "the newest version is due");
}
