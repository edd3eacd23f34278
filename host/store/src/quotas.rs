//! What a tenant may use. The operator's configuration says it for everybody ([`Quotas`] of the deployment), and a
//! tenant's own row for that one; what neither says is not limited.

use crate::{FieldError, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Prefixes in one list at most.
const MAX_PREFIXES: usize = 200;

/// What may be used at most. What is left out is as the deployment has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Calls at once on one host. Another is refused: 486, or `429 calls_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
    /// New calls a second on one host, in and out, and as many saved up. Another is refused: 503, or `429 call_rate_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub calls_per_second: Option<u32>,
    /// Requests a second of all its keys together. Another is refused: `429 rate_limited`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub requests_per_second: Option<u32>,
    /// Linear memory of a script, MB; not more than the deployment's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub script_memory_mb: Option<u32>,
    /// CPU time of a script in a whole call, ms; not more than the deployment's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub script_cpu_per_call_ms: Option<u32>,
    /// Scripts that are kept. Another is refused: `403 scripts_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scripts: Option<u32>,
    /// Versions of one script. Another is refused: `403 versions_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions_per_script: Option<u32>,
    /// Components and recordings together, MB. Beyond, uploads are refused (`403 storage_exceeded`) and calls are not
    /// recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_mb: Option<u32>,
    /// Calls to the telephone network, transfers included.
    #[serde(skip_serializing_if = "OutboundQuotas::is_default")]
    pub outbound: OutboundQuotas,
}

/// What calls that go out to the telephone network may do: those that are placed, and the second legs of transfers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutboundQuotas {
    /// Only numbers that begin so, in E.164: `+49`; empty for all but what is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_prefixes: Option<Vec<String>>,
    /// None that begin so; unless given, what is known for premium rates and satellites. An allowed prefix that is longer
    /// wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_prefixes: Option<Vec<String>>,
    /// Minutes a day (UTC) from answer to end, as far as they are counted when another leg begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes_per_day: Option<u32>,
    /// Legs that begin in a minute, on one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub calls_per_minute: Option<u32>,
    /// Legs at once, on one host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
}

impl Quotas {
    /// A tenant's, and where it says nothing the deployment's.
    #[must_use]
    pub fn or(self, deployment: &Self) -> Self {
        Self {
            concurrent_calls: self.concurrent_calls.or(deployment.concurrent_calls),
            calls_per_second: self.calls_per_second.or(deployment.calls_per_second),
            requests_per_second: self.requests_per_second.or(deployment.requests_per_second),
            script_memory_mb: self.script_memory_mb.or(deployment.script_memory_mb),
            script_cpu_per_call_ms: self.script_cpu_per_call_ms.or(deployment.script_cpu_per_call_ms),
            scripts: self.scripts.or(deployment.scripts),
            versions_per_script: self.versions_per_script.or(deployment.versions_per_script),
            storage_mb: self.storage_mb.or(deployment.storage_mb),
            outbound: self.outbound.or(&deployment.outbound),
        }
    }

    /// What is wrong with it, as far as it can be said without looking anything up.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] with everything that is wrong.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut wrong = Vec::new();
        for (path, value) in [
            ("quotas.calls_per_second", self.calls_per_second),
            ("quotas.requests_per_second", self.requests_per_second),
            ("quotas.script_memory_mb", self.script_memory_mb),
            ("quotas.script_cpu_per_call_ms", self.script_cpu_per_call_ms),
        ] {
            if value == Some(0) {
                wrong.push(FieldError::new(path, "out_of_range", "at least 1"));
            }
        }
        self.outbound.wrong("quotas.outbound", &mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(StoreError::Invalid(wrong)) }
    }
}

impl OutboundQuotas {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn or(self, deployment: &Self) -> Self {
        Self {
            allowed_prefixes: self.allowed_prefixes.or_else(|| deployment.allowed_prefixes.clone()),
            denied_prefixes: self.denied_prefixes.or_else(|| deployment.denied_prefixes.clone()),
            minutes_per_day: self.minutes_per_day.or(deployment.minutes_per_day),
            calls_per_minute: self.calls_per_minute.or(deployment.calls_per_minute),
            concurrent_calls: self.concurrent_calls.or(deployment.concurrent_calls),
        }
    }

    pub(crate) fn wrong(&self, path: &str, wrong: &mut Vec<FieldError>) {
        if self.calls_per_minute == Some(0) {
            wrong.push(FieldError::new(format!("{path}.calls_per_minute"), "out_of_range", "at least 1"));
        }
        for (name, list) in [("allowed_prefixes", &self.allowed_prefixes), ("denied_prefixes", &self.denied_prefixes)] {
            let Some(list) = list else { continue };
            if list.len() > MAX_PREFIXES {
                let message = format!("at most {MAX_PREFIXES}");
                wrong.push(FieldError::new(format!("{path}.{name}"), "too_many", message));
            }
            for (at, prefix) in list.iter().enumerate() {
                let digits = prefix.strip_prefix('+').unwrap_or(prefix);
                if !(1..=15).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    let message = "expected digits as they are dialled, with + where the number is international: +49";
                    wrong.push(FieldError::new(format!("{path}.{name}[{at}]"), "invalid", message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_and_else_the_deployments() {
        let prefixes = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect::<Vec<_>>());
        let deployment = Quotas {
            concurrent_calls: Some(10),
            scripts: Some(5),
            outbound: OutboundQuotas {
                allowed_prefixes: prefixes(&["+49"]),
                calls_per_minute: Some(3),
                ..OutboundQuotas::default()
            },
            ..Quotas::default()
        };
        let own: Quotas =
            serde_json::from_str(r#"{"concurrent_calls": 0, "outbound": {"allowed_prefixes": []}}"#).unwrap();
        let both = own.or(&deployment);
        assert_eq!((both.concurrent_calls, both.scripts, both.storage_mb), (Some(0), Some(5), None));
        assert_eq!((both.outbound.allowed_prefixes, both.outbound.calls_per_minute), (prefixes(&[]), Some(3)));
        assert_eq!(serde_json::to_string(&Quotas::default()).unwrap(), "{}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let quotas: Quotas = serde_json::from_str(
            r#"{"calls_per_second": 0, "outbound": {"calls_per_minute": 0, "denied_prefixes": ["+49", "", "+4x", "0900"]}}"#,
        )
        .unwrap();
        let Err(StoreError::Invalid(wrong)) = quotas.check() else { panic!("it is wrong") };
        let paths: Vec<&str> = wrong.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "quotas.calls_per_second",
                "quotas.outbound.calls_per_minute",
                "quotas.outbound.denied_prefixes[1]",
                "quotas.outbound.denied_prefixes[2]",
            ]
        );
        assert!(serde_json::from_str::<Quotas>(r#"{"calls": 1}"#).is_err());
    }
}
