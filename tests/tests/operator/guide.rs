//! The operator's guide is complete where it can be counted.

use std::fs;

use ignite_proto::v1::FailureReason;
use ignite_tests::paths;

#[test]
fn every_failure_reason_is_in_the_guide() {
    let guide = fs::read_to_string(paths::repository().join("docs/operators.md")).unwrap();
    let reasons = (1..).map_while(|number| FailureReason::try_from(number).ok());
    let names: Vec<_> = reasons
        .map(|reason| reason.as_str_name().trim_start_matches("FAILURE_REASON_"))
        .collect();
    assert!(names.len() >= 15);
    for name in names {
        assert!(guide.contains(&format!("\n| `{name}` | ")), "{name}");
    }
}
