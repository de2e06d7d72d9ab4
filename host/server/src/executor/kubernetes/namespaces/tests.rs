use super::*;
use crate::executor::kubernetes::samples;

#[test]
fn what_is_in_an_organizations_namespace() {
    let (plan, mut config) = samples::full();
    config.registries = [
        "10.1.2.3:5000",
        "registry.example.com",
        "hub.registry.svc.cluster.local:5000",
    ]
    .map(str::to_owned)
    .into();
    let objects = Objects {
        config: &config,
        org: &plan.org,
        name: "ignite-builds-acme",
    };
    insta::assert_json_snapshot!(json!([
        objects.quota(),
        objects.limit_range(),
        objects.network_policy(),
        objects.service_account(),
    ]));
    typed::<ResourceQuota>(objects.quota()).unwrap();
    typed::<LimitRange>(objects.limit_range()).unwrap();
    typed::<NetworkPolicy>(objects.network_policy()).unwrap();
    typed::<ServiceAccount>(objects.service_account()).unwrap();
}
