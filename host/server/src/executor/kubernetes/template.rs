//! What an operator adds to every build pod: part of a `PodSpec`, as YAML.
//!
//! ```yaml
//! nodeSelector: { pool: builds }
//! tolerations: [{ key: builds, operator: Exists }]
//! env: [{ name: HTTPS_PROXY, value: "http://proxy.internal:3128" }]
//! annotations: { sidecar.istio.io/inject: "false" }
//! ```
//!
//! Only the fields of [`FIELDS`] are taken, besides `env`, which both containers get, and `annotations`: what shapes the sandbox
//! itself is the gateway's.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::PodSpec;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Those of a `PodSpec`.
const FIELDS: [&str; 14] = [
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "hostUsers",
    "imagePullSecrets",
    "nodeSelector",
    "preemptionPolicy",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
];
/// Annotations of this prefix are the gateway's.
const OWN_PREFIX: &str = "ignite.dodil.io/";

/// A checked template.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodTemplate {
    /// To be laid under the gateway's own.
    pub(super) spec: Map<String, Value>,
    /// More environment of fetch step and Kaniko.
    pub(super) env: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("{path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("is not YAML of a table: {0}")]
    Form(String),
    #[error("the field {field} cannot be set; those that can are env, annotations, {}", FIELDS.join(", "))]
    Field { field: String },
    #[error("{field}: {problem}")]
    Value { field: &'static str, problem: String },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    value: String,
}

// === impl PodTemplate ===

impl PodTemplate {
    /// # Errors
    /// If the file cannot be read, or has a field that is not to be set, or one of a wrong form.
    pub fn load(path: &Path) -> Result<Self, TemplateError> {
        let text = fs::read_to_string(path).map_err(|source| TemplateError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut spec: Map<String, Value> = match serde_norway::from_str::<Option<Map<String, Value>>>(text) {
            Ok(spec) => spec.unwrap_or_default(),
            Err(error) => return Err(TemplateError::Form(error.to_string())),
        };
        let env: Vec<Variable> = take(&mut spec, "env")?.unwrap_or_default();
        let annotations: BTreeMap<String, String> = take(&mut spec, "annotations")?.unwrap_or_default();
        if let Some(field) = spec.keys().find(|field| !FIELDS.contains(&field.as_str())) {
            return Err(TemplateError::Field { field: field.clone() });
        }
        if let Some(own) = annotations.keys().find(|key| key.starts_with(OWN_PREFIX)) {
            return Err(TemplateError::Value {
                field: "annotations",
                problem: format!("{own} is the gateway's own"),
            });
        }
        check_form(&spec)?;
        Ok(Self {
            spec,
            env: env
                .into_iter()
                .map(|variable| (variable.name, variable.value))
                .collect(),
            annotations,
        })
    }
}

fn take<T: for<'de> Deserialize<'de>>(
    spec: &mut Map<String, Value>,
    field: &'static str,
) -> Result<Option<T>, TemplateError> {
    let wrong = |error: serde_json::Error| TemplateError::Value {
        field,
        problem: error.to_string(),
    };
    spec.remove(field)
        .map(serde_json::from_value)
        .transpose()
        .map_err(wrong)
}

/// Whether a pod's specification can have it so. What the API server also checks, it says when the first pod is made.
fn check_form(spec: &Map<String, Value>) -> Result<(), TemplateError> {
    for field in FIELDS {
        let Some(value) = spec.get(field) else { continue };
        let mut alone = Map::new();
        alone.insert(field.to_owned(), value.clone());
        alone.insert("containers".to_owned(), Value::Array(Vec::new()));
        serde_json::from_value::<PodSpec>(Value::Object(alone)).map_err(|error| TemplateError::Value {
            field,
            problem: error.to_string(),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_may_set_is_taken() {
        let template = PodTemplate::parse(
            "nodeSelector: {pool: builds}\ntolerations: [{key: builds, operator: Exists}]\nhostUsers: false\n\
             env: [{name: HTTPS_PROXY, value: 'http://proxy:3128'}]\nannotations: {a/b: c}\n",
        )
        .unwrap();
        assert_eq!(template.env["HTTPS_PROXY"], "http://proxy:3128");
        assert_eq!(template.annotations["a/b"], "c");
        assert_eq!(template.spec["hostUsers"], false);
        assert_eq!(PodTemplate::parse("").unwrap(), PodTemplate::default());
    }

    #[test]
    fn nothing_else_is() {
        for (text, says) in [
            ("hostNetwork: true", "hostNetwork cannot be set"),
            ("containers: []", "containers cannot be set"),
            ("volumes: []", "volumes cannot be set"),
            ("securityContext: {}", "securityContext cannot be set"),
            ("automountServiceAccountToken: true", "cannot be set"),
            ("tolerations: {}", "tolerations: "),
            ("nodeSelector: [a]", "nodeSelector: "),
            ("env: [{name: A, valueFrom: {}}]", "env: "),
            (
                "annotations: {ignite.dodil.io/go-ahead: 'true'}",
                "the gateway's own",
            ),
            ("- a", "is not YAML"),
        ] {
            let error = PodTemplate::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
