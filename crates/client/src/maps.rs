//! Region maps through a gateway, for operators and auditors.

use crate::gateway::Gateway;
use crate::{Client, Error, api};

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $method:ident $request:ident -> $answer:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`Error`].
                pub async fn $name(&self, request: &api::$request) -> Result<api::$answer, Error> {
                    let call = |mut to: Gateway, request| async move {
                        to.maps.$method(request).await
                    };
                    self.attempts(request, self.question(), call).await.map(|(answer, _)| answer)
                }
            )*
        }
    };
}

calls! {
    /// The map in force, or an earlier one.
    map get GetRegionMapRequest -> SignedRegionMap;
    /// Everything that is wrong with a map, as the gateway sees it.
    check_map check CheckRegionMapRequest -> CheckRegionMapResponse;
    /// How many stored subjects a map would place elsewhere, or nowhere.
    plan_map plan PlanRegionMapRequest -> PlanRegionMapResponse;
    /// Gives a signed map to every shard. Given twice, it is taken once.
    apply_map apply ApplyRegionMapRequest -> ApplyRegionMapResponse;
    /// Which map each process holds.
    map_status status RegionMapStatusRequest -> RegionMapStatus;
    /// The maps that a region's shards have taken.
    map_history history RegionMapHistoryRequest -> RegionMapHistory;
}
