//! Copies under a new generation of the mirror region's key.

use std::sync::Arc;

use shard::KeyRequest;

use super::{found, has_version, put, rig, written};
use crate::key_rotation::{ask, of, rewrapped};

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_wrapped_again_and_read_once_the_old_generation_is_destroyed() {
    let rig = rig(61).await;
    written(&rig, put(&rig, "anna", "main", b"one")).await;
    has_version(&rig, "anna", "main", 1).await;
    let mirror = Arc::clone(&rig.regions[1].place);
    assert_eq!(ask(&mirror, KeyRequest::Status).await.unwrap(), [of(1, true, 1)]);
    ask(&mirror, KeyRequest::Rotate).await.unwrap();
    assert_eq!(rewrapped(&mirror).await, [of(1, false, 0), of(2, true, 1)]);
    ask(&mirror, KeyRequest::Destroy(1)).await.unwrap();
    assert_eq!(found(&rig, 1, "anna", "main").await.unwrap().body, "one");
    written(&rig, put(&rig, "anna", "main", b"two")).await;
    has_version(&rig, "anna", "main", 2).await;
    rig.stop().await;
}
