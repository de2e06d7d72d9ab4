//! The Kubernetes executor by itself, put through what every executor must do.

use ignite_server::executor::conformance;

use self::fixture::Pods;

mod contexts;
mod fixture;

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let pods = Pods::start().await;
            if let Err(broken) = conformance::$case(&pods).await {
                panic!("{broken}");
            }
        }
    )*};
}

ignite_server::conformance_cases!(conformance);
