use serde_json::Value;

use super::*;
use crate::executor::kubernetes::samples;

fn made(plan: &RunPlan, config: &KubernetesConfig) -> Value {
    let payload = Payload::new(plan, config).unwrap();
    let object = payload
        .object(plan, "ignite-builds", "ignite-builds", "pod-uid")
        .unwrap();
    let mut object: Value = serde_json::from_slice(&object).unwrap();
    // As text, and with the limits out of sight, which are others' to change.
    for (key, value) in object["data"].as_object_mut().unwrap() {
        let text = STANDARD.decode(value.as_str().unwrap()).unwrap();
        *value = match serde_json::from_slice::<Value>(&text) {
            Ok(mut json) => {
                for field in ["limits", "git"] {
                    if key == PLAN_FILE {
                        json[field] = "…".into();
                    }
                }
                json
            }
            Err(_) => String::from_utf8(text).unwrap().into(),
        };
    }
    object
}

#[test]
fn the_secret_of_a_plain_build() {
    insta::assert_json_snapshot!(made(&samples::archive_plan(), &samples::plain_config()));
}

#[test]
fn the_secret_of_a_build_with_everything() {
    let (plan, config) = samples::full();
    insta::assert_json_snapshot!(made(&plan, &config));
}

#[test]
fn a_payload_does_not_show_what_it_holds() {
    let (plan, config) = samples::full();
    let shown = format!("{:?}", Payload::new(&plan, &config).unwrap());
    assert!(shown.contains("arg.TOKEN"), "{shown}");
    for secret in samples::SECRETS {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn what_no_secret_can_hold_is_refused_before_anything_is_made() {
    let mut plan = samples::archive_plan();
    for at in 0..20 {
        let value = SecretText::new("x".repeat(64 << 10));
        plan.secrets.mounts.insert(format!("secret-{at}"), value);
    }
    let error = Payload::new(&plan, &samples::plain_config()).unwrap_err();
    assert!(matches!(error, ExecutorError::Unsupported(_)), "{error}");
}
