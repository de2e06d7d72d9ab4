use super::*;
use crate::executor::kubernetes::samples;

fn made(plan: &RunPlan, config: &KubernetesConfig) -> Value {
    let payload = Payload::new(plan, config).unwrap();
    serde_json::to_value(pod(plan, config, &payload, "ignite-builds").unwrap()).unwrap()
}

#[test]
fn a_plain_build() {
    insta::assert_json_snapshot!(made(&samples::archive_plan(), &samples::plain_config()));
}

#[test]
fn a_build_with_everything() {
    let (plan, config) = samples::full();
    insta::assert_json_snapshot!(made(&plan, &config));
}

#[test]
fn nothing_secret_is_in_a_pod() {
    let (plan, config) = samples::full();
    for (plan, config) in [(plan, config), (samples::archive_plan(), samples::plain_config())] {
        let text = made(&plan, &config).to_string();
        for secret in samples::SECRETS {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[test]
fn what_users_write_is_not_expanded_by_the_kubelet() {
    let (plan, config) = samples::full();
    let pod = made(&plan, &config);
    let args = pod["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&json!("--destination=registry.example.com/acme/$$(TOKEN):$$1")));
}

#[test]
fn build_args_do_not_steer_kaniko() {
    let (plan, config) = samples::full();
    let pod = made(&plan, &config);
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let user: Vec<_> = env.iter().filter(|variable| variable["name"] == "USER").collect();
    assert_eq!(user, [&json!({ "name": "USER", "value": "root" })]);
}

#[test]
fn the_template_does_not_win_over_the_sandbox() {
    let (plan, mut config) = samples::full();
    config
        .template
        .spec
        .insert("restartPolicy".to_owned(), json!("Always"));
    assert_eq!(made(&plan, &config)["spec"]["restartPolicy"], "Never");
}
