//! PolicyService, but for dry runs: an organization's policy, read and put.

use ignite_core::policy::{Mode, ResolvedEntry};
use ignite_proto::v1;

use super::{Service, list_limit};
use crate::{
    error::{Error, Result},
    policies::{Put, etag},
    principal::{Principal, Scope},
    store::RevisionRow,
};

impl Service {
    pub async fn get_policy(
        &self,
        caller: &Principal,
        request: v1::GetPolicyRequest,
    ) -> Result<v1::GetPolicyResponse> {
        caller.require(Scope::PoliciesRead)?;
        let org = &caller.org;
        let policy =
            match request.revision {
                0 => v1::Policy {
                    from_file: self.policies.is_from_file(org),
                    ..self.policies.current(org).await?.map_or_else(no_policy, shown)
                },
                revision => shown(self.store.policy_revision(org, revision).await?.ok_or_else(|| {
                    Error::NotFound {
                        kind: "policy revision",
                        name: revision.to_string(),
                    }
                })?),
            };
        Ok(v1::GetPolicyResponse { policy: Some(policy) })
    }

    pub async fn put_policy(
        &self,
        caller: &Principal,
        request: v1::PutPolicyRequest,
    ) -> Result<v1::PutPolicyResponse> {
        caller.require(Scope::PoliciesWrite)?;
        if !request.validate_only && self.policies.is_from_file(&caller.org) {
            return Err(Error::FailedPrecondition {
                reason: "POLICY_FROM_FILE",
                message: "the organization's policy is a file of the operator's policy directory: ask the operator to change it"
                    .to_owned(),
            });
        }
        let put = Put {
            text: &request.text,
            subject: &caller.subject,
            etag: &request.etag,
            validate_only: request.validate_only,
            from_file: false,
        };
        let row = self.policies.put(&caller.org, put).await?;
        Ok(v1::PutPolicyResponse {
            policy: Some(shown(row)),
        })
    }

    pub async fn list_policy_revisions(
        &self,
        caller: &Principal,
        request: v1::ListPolicyRevisionsRequest,
    ) -> Result<v1::ListPolicyRevisionsResponse> {
        caller.require(Scope::PoliciesRead)?;
        let limit = list_limit(request.limit)?;
        let before = match request.cursor.as_str() {
            "" => None,
            text => Some(
                text.parse::<u64>()
                    .map_err(|_| Error::invalid("cursor", "must be the next_cursor of an earlier answer"))?,
            ),
        };
        let (page, more) = self.store.policy_revisions(&caller.org, before, limit).await?;
        let last = page.last().filter(|_| more);
        let next_cursor = last.map(|last| last.policy.revision.to_string());
        let without_text = |row: RevisionRow| v1::Policy {
            text: String::new(),
            ..shown(row)
        };
        Ok(v1::ListPolicyRevisionsResponse {
            revisions: page.into_iter().map(without_text).collect(),
            next_cursor: next_cursor.unwrap_or_default(),
        })
    }
}

fn no_policy() -> v1::Policy {
    v1::Policy {
        etag: etag(0),
        ..v1::Policy::default()
    }
}

fn shown(row: RevisionRow) -> v1::Policy {
    v1::Policy {
        text: row.text,
        revision: row.policy.revision,
        etag: etag(row.policy.revision),
        updated_at_ms: row.updated_at_ms,
        updated_by: row.updated_by,
        from_file: row.from_file,
        plugins: row.policy.entries.iter().map(plugin).collect(),
    }
}

fn plugin(entry: &ResolvedEntry) -> v1::PolicyPlugin {
    v1::PolicyPlugin {
        name: entry.plugin.clone(),
        version: entry.version.clone(),
        digest: entry.digest.to_string(),
        hooks: entry.hooks.iter().map(ToString::to_string).collect(),
        mode: match entry.settings.mode {
            Mode::Enforce => "enforce",
            Mode::Monitor => "monitor",
        }
        .to_owned(),
    }
}
