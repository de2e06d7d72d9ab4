//! `google.rpc.Status` in proto3 JSON, its details as `Any`.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;
use tonic_types::{BadRequest, ErrorDetails, ErrorInfo, QuotaFailure, RequestInfo, ResourceInfo, RetryInfo};

/// Only the details that [`super::decide`] ever sets are known here.
pub(super) fn status(code: Code, message: &str, details: &ErrorDetails) -> Value {
    let details: Vec<Value> = [
        details.error_info().map(error_info),
        details.bad_request().map(bad_request),
        details.resource_info().map(resource_info),
        details.quota_failure().map(quota_failure),
        details.retry_info().map(retry_info),
        details.request_info().map(request_info),
    ]
    .into_iter()
    .flatten()
    .collect();
    json!({"code": i32::from(code), "message": message, "details": details})
}

fn error_info(info: &ErrorInfo) -> Value {
    json!({"@type": ErrorInfo::TYPE_URL, "reason": info.reason, "domain": info.domain, "metadata": info.metadata})
}

fn bad_request(bad: &BadRequest) -> Value {
    let violations: Vec<Value> = bad
        .field_violations
        .iter()
        .map(|violation| json!({"field": violation.field, "description": violation.description}))
        .collect();
    json!({"@type": BadRequest::TYPE_URL, "fieldViolations": violations})
}

fn resource_info(info: &ResourceInfo) -> Value {
    json!({"@type": ResourceInfo::TYPE_URL, "resourceType": info.resource_type, "resourceName": info.resource_name})
}

fn quota_failure(failure: &QuotaFailure) -> Value {
    let violations: Vec<Value> = failure
        .violations
        .iter()
        .map(|violation| json!({"subject": violation.subject, "description": violation.description}))
        .collect();
    json!({"@type": QuotaFailure::TYPE_URL, "violations": violations})
}

fn retry_info(info: &RetryInfo) -> Value {
    json!({"@type": RetryInfo::TYPE_URL, "retryDelay": duration(info.retry_delay.unwrap_or_default())})
}

fn request_info(info: &RequestInfo) -> Value {
    json!({"@type": RequestInfo::TYPE_URL, "requestId": info.request_id})
}

/// Seconds with as many digits as needed: 0, 3, 6 or 9.
fn duration(duration: Duration) -> String {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if nanos == 0 {
        format!("{secs}s")
    } else if nanos.is_multiple_of(1_000_000) {
        format!("{secs}.{:03}s", nanos / 1_000_000)
    } else if nanos.is_multiple_of(1_000) {
        format!("{secs}.{:06}s", nanos / 1_000)
    } else {
        format!("{secs}.{nanos:09}s")
    }
}
