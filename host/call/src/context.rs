//! Context sources and language models of one call: from the name in the manifest to the answer.

use crate::breakers::{Bound, Breakers, Watch};
use crate::platform::Rooms;
use callbox_delivery::{ContextRequest, FetchError, ModelAnswer, ModelError, ModelRequest};
use callbox_dialogue::Setup;
use callbox_dialogue::llm::Request;
use callbox_dialogue::script::HostError;
use callbox_store::calls::CallStart;
use callbox_store::routing::Route;
use callbox_traces::CallTrace;
use serde_json::{Map, Value, json};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Asks the sources and models of one call. What they are bound to never leaves this room.
#[derive(Clone)]
pub(crate) struct ContextFetcher {
    rooms: Rooms,
    breakers: Breakers,
    facts: Arc<Facts>,
}

struct Facts {
    route: Route,
    start: CallStart,
    /// Who calls whom, and the headers the manifest lists.
    call: Value,
}

impl ContextFetcher {
    pub(crate) fn new(rooms: Rooms, breakers: Breakers, route: &Route, start: &CallStart, setup: &Setup) -> Self {
        let info = &setup.info;
        let headers: Map<String, Value> =
            info.headers.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        let call = json!({
            "direction": info.direction,
            "transport": info.transport,
            "from": callbox_store::document::address(&info.caller),
            "to": callbox_store::document::address(&info.callee),
            "caller": info.caller,
            "callee": info.callee,
            "number_id": start.number_id,
            "relation_id": start.relation_id,
            "external_id": start.external_id,
            "headers": headers,
            "parameters": start.parameters,
        });
        Self { rooms, breakers, facts: Arc::new(Facts { route: route.clone(), start: start.clone(), call }) }
    }

    /// A request to a source. The engine keeps the time limit; this one only makes sure that
    /// nothing runs on for ever.
    pub(crate) fn fetch(
        &self,
        source: String,
        parameters: Vec<(String, String)>,
    ) -> impl Future<Output = Result<String, HostError>> + Send + use<> {
        let this = self.clone();
        async move { this.ask(&source, parameters).await }
    }

    /// Its id.
    pub(crate) fn call(&self) -> &str {
        &self.facts.start.id
    }

    /// Asks a language model, unless it is left alone: what it answers comes bit by bit, watched by whoever reads it. The
    /// engine keeps the time limits.
    pub(crate) async fn ask_model(&self, request: &Request) -> Result<(ModelAnswer, Watch), HostError> {
        let Facts { route, start, .. } = self.facts.as_ref();
        let model = request.model.as_str();
        let Some(binding) = route.bindings.models.get(model) else {
            return Err(HostError::NotFound(format!("the model {model} is not bound")));
        };
        let credentials = self
            .rooms
            .store
            .model_credentials(&start.tenant_id, &route.script_id, model)
            .await
            .map_err(|error| HostError::Unavailable(format!("model {model}: {}", error.code())))?;
        let bound = Bound {
            tenant: start.tenant_id.clone(),
            script: route.script_id.clone(),
            model: model.to_owned(),
            url: binding.url.clone(),
        };
        let watch = Watch::new(self.breakers.admit(bound)?, binding.patience_ms);
        let ask = ModelRequest { url: &binding.url, model: &binding.model, credentials: &credentials, request };
        let limit = Duration::from_millis(binding.timeout_ms.into());
        let answer = callbox_delivery::ask_model(&self.rooms.egress, ask, limit).await;
        let answer = answer.map_err(|error| {
            tracing::warn!(call = start.id, model, %error, "a language model failed");
            // A request that it does not want says nothing about the next one.
            let refused = matches!(error, ModelError::Status { status: 400 | 413 | 422, .. });
            (refused, HostError::from(error))
        });
        match answer {
            Ok(answer) => Ok((answer, watch)),
            Err((refused, error)) => {
                watch.over(refused);
                Err(match error {
                    HostError::Unavailable(why) => HostError::Unavailable(format!("model {model}: {why}")),
                    other => other,
                })
            }
        }
    }

    async fn ask(&self, source: &str, parameters: Vec<(String, String)>) -> Result<String, HostError> {
        let Facts { route, start, call } = self.facts.as_ref();
        let Some(binding) = route.bindings.sources.get(source) else {
            return Err(HostError::NotFound(format!("the source {source} is not bound")));
        };
        let store = &self.rooms.store;
        let credentials = store
            .source_credentials(&start.tenant_id, &route.script_id, source)
            .await
            .map_err(|error| HostError::Unavailable(format!("source {source}: {}", error.code())))?;
        let parameters: Map<String, Value> =
            parameters.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        let request = ContextRequest {
            url: &binding.url,
            credentials: &credentials,
            tenant_id: &start.tenant_id,
            call_id: &start.id,
            created_at: store.now(),
            traceparent: self.rooms.traces.of(&start.id).map(CallTrace::traceparent),
            data: json!({ "source": source, "parameters": parameters, "call": call }),
        };
        let limit = Duration::from_millis(binding.timeout_ms.into());
        let answer = callbox_delivery::fetch_context(&self.rooms.egress, request, limit).await;
        answer.map_err(|error| {
            tracing::warn!(call = start.id, source, %error, "a context source failed");
            match error {
                FetchError::TimedOut => HostError::TimedOut,
                // The customer's system knows no such customer: nothing is broken, and trying again is of no use.
                FetchError::Status(404 | 410) => HostError::NotFound(format!("source {source}: {error}")),
                other => HostError::Unavailable(format!("source {source}: {other}")),
            }
        })
    }
}
