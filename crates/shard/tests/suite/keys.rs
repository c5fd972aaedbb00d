//! Keys that are not the store's: a start says so before anything is written under them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use crate::support::{Place, Stand, put_ru};
use shard::Error;

/// The text with the hexadecimal digit after the `nth` place of `mark` changed.
fn digit(text: &str, mark: &str, nth: usize) -> String {
    let (at, _) = text.match_indices(mark).nth(nth).expect("the mark is there");
    let at = at + mark.len() + 7;
    let mut bytes = text.as_bytes().to_vec();
    let digit = bytes.get_mut(at).expect("a digit");
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    String::from_utf8(bytes).unwrap()
}

/// A start and a recovery are refused, and say which file it is.
async fn refused(place: &Place, file: &Path) -> String {
    let error = place.open().await.expect_err("the shard refuses to start");
    assert!(matches!(error, Error::Keys { .. } | Error::Generation { .. }), "{error}");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_is_refused_at_the_start_and_nothing_is_lost() {
    for stand in Stand::all() {
        let place = Place::on("ru-msk", stand);
        let shard = place.start().await;
        let mut session = shard.session().await;
        session.put(put_ru("anna", "main", b"body", 1)).await.unwrap();
        drop(session);
        shard.stop().await.unwrap();

        let keyring = place.path("keys").join("ru-msk.keyring");
        let text = fs::read_to_string(&keyring).unwrap();
        let another =
            "\n[[generations]]\nnumber = 2\nkey = \"".to_owned() + &"ab".repeat(32) + "\"\n";
        for (changed, says) in [
            (digit(&text, "index = \"", 0), "it is not the keyring of this store"),
            (digit(&text, "key = \"", 0), "generation 1 is not the key of this store"),
            (text.replace("number = 1", "number = 2"), "generation 1 is missing"),
            (text.clone() + &another, "generation 2 is not one of this store"),
            (text.clone() + &another.replace("= 2", "= 1"), "two of its generations"),
            (text.replace("region = \"ru-msk\"", "region = \"eu-fra\""), "another region's"),
        ] {
            assert_ne!(changed, text);
            fs::write(&keyring, changed).unwrap();
            let error = refused(&place, &keyring).await;
            assert!(error.contains(says), "{error}");
            assert!(place.recover().is_err(), "a recovery takes the keyring: {says}");
        }
        fs::write(&keyring, &text).unwrap();
        let aside = place.path("aside");
        fs::rename(&keyring, &aside).unwrap();
        let error = refused(&place, &keyring).await;
        assert!(error.contains("it is missing"), "{error}");
        fs::rename(&aside, &keyring).unwrap();

        let log_key = place.path("keys").join("ru-msk-s1-1.logkey");
        let seed = fs::read_to_string(&log_key).unwrap();
        fs::write(&log_key, digit(&seed, "", 0)).unwrap();
        let error = refused(&place, &log_key).await;
        assert!(error.contains("it is not the key of this store's log"), "{error}");
        fs::write(&log_key, seed).unwrap();

        let shard = place.start().await;
        let mut session = shard.session().await;
        assert_eq!(session.get("anna", "profiles", "main").await.unwrap().body, "body");
        drop(session);
        shard.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_keys_of_all_periods_are_shown_while_the_shard_runs() {
    let place = Place::new("ru-msk");
    let made = place.init_as(&place.settings()).unwrap();
    let map = place.map();
    let annex = atlas::Annex::parse(&place.annex, &map).unwrap();
    let rotated = shard::rotate_log(&place.settings(), &map, &annex, &place.outside()).unwrap();
    // A key that was made for a period that never began.
    fs::copy(
        place.path("keys").join("ru-msk-s1-2.logkey"),
        place.path("keys").join("ru-msk-s1-3.logkey"),
    )
    .unwrap();
    let shard = place.start().await;
    let keys = place.settings().log_keys("sample").unwrap();
    let shown: Vec<_> = keys.iter().map(|key| (key.origin.as_str(), key.vkey.as_deref())).collect();
    let (first, second) = ("sample/ru-msk/s1/1", "sample/ru-msk/s1/2");
    assert_eq!(shown, [(first, Some(made.vkey.as_str())), (second, Some(rotated.vkey.as_str()))]);
    // A key file that is gone is said, and one that is not the log's is refused.
    fs::remove_file(place.path("keys").join("ru-msk-s1-1.logkey")).unwrap();
    assert_eq!(place.settings().log_keys("sample").unwrap()[0].vkey, None);
    assert!(place.settings().log_keys("other").is_err());
    shard.stop().await.unwrap();
}
