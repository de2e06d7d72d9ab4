use serde_json::json;

use super::*;

#[test]
fn a_plan_is_a_fetch_plan_and_what_a_pod_needs_besides() {
    let plan = json!({
        "source": {"archive": {"path": "/ignite/run/context", "sha256": "00"}},
        "dockerfile": "Dockerfile",
        "limits": {},
        "git": {},
        "gated": true,
        "timeout": {"secs": 600, "nanos": 0},
    });
    let read: PodPlan = serde_json::from_value(plan.clone()).unwrap();
    assert!(read.gated);
    assert_eq!(read.timeout, Duration::from_secs(600));
    let again: PodPlan = serde_json::from_slice(&serde_json::to_vec(&read).unwrap()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{read:?}"));
    for missing in ["gated", "timeout", "source"] {
        let mut plan = plan.clone();
        plan.as_object_mut().unwrap().remove(missing);
        // To build without waiting would be worse than not to build.
        assert!(serde_json::from_value::<PodPlan>(plan).is_err(), "{missing}");
    }
}
