//! Sites with which a collection must not lie, at the shard: it refuses what a law would pin there, and a
//! site that does not state what is asked is one of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::support::{MAP, Place, put_ru};

/// The sample with these keys in `profiles`, and in the region of this shard.
fn place(collection: &str, region: &str) -> Place {
    let mut place = Place::new("ru-msk");
    let (name, own) = ("name = \"profiles\"\n", "name = \"ru-msk\"\nterritory = \"RU\"\n");
    assert!(MAP.contains(name) && MAP.contains(own));
    place.map = MAP.replacen(name, &format!("{name}{collection}\n"), 1).replacen(
        own,
        &format!("{own}{region}\n"),
        1,
    );
    place
}

async fn puts(place: &Place, collection: &str) -> Option<String> {
    let shard = place.start().await;
    let mut session = shard.session().await;
    let put =
        wire::session::Put { collection: collection.into(), ..put_ru("anna", "k1", b"body", 1) };
    let refused = session.put(put).await.err();
    drop(session);
    shard.stop().await.unwrap();
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn no_law_leads_to_a_site_that_is_excluded() {
    let excluded = Some("REGION_EXCLUDED".to_owned());
    for (collection, region, wanted) in [
        ("exclude.regions = [\"ru-msk\"]", "", &excluded),
        ("exclude.regions = [\"kz-ala\"]", "", &None),
        ("exclude.controlled_from = [\"US\"]", "", &excluded),
        ("exclude.controlled_from = [\"US\"]", "site.controlled_from = [\"RU\"]", &None),
        (
            "exclude.controlled_from = [\"US\"]",
            "site.controlled_from = [\"US\", \"RU\"]",
            &excluded,
        ),
        ("exclude.operators = [\"Halls\"]", "site.operator = \"HALLS\"", &excluded),
        ("exclude.operators = [\"Halls\"]", "site.operator = \"Other\"", &None),
        ("exclude.operators = [\"Halls\"]", "", &excluded),
    ] {
        let place = place(collection, region);
        assert_eq!(puts(&place, "profiles").await, *wanted, "{collection}, {region}");
        // Another collection may lie there.
        let other = Place { map: place.map.clone(), ..Place::new("ru-msk") };
        assert_eq!(puts(&other, "messages").await, None, "{collection}, {region}");
    }
}
