//! The OpenAPI document: the handlers' own descriptions, and what holds for all of
//! them added once – the answers that every operation can give, the headers.

use crate::intake::JSON_BYTES;
use crate::problem::{PROBLEM_JSON, ProblemDocument};
use crate::{
    Api, bindings, calls, capture, component, conversation, deliveries, health, hosts, keys, numbers, recordings,
    retention, scripts, shapes, signalling,
};
use crate::{
    sip_accounts, tenant, tenants, trunks, usage, versions, webhooks, webrtc_calls, webrtc_exchange, webrtc_tokens,
};
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use callbox_store::FieldError;
use callbox_store::keys::{OPERATOR, RESOURCES};
use callbox_store::webhooks::EVENT_TYPES;
use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ArrayBuilder, ArrayItems, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, HttpMethod, OpenApi as Document, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The frame of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Callbox",
        description = "Voice dialogue on the telephone, scripted in WebAssembly.\n\n\
            Times are RFC 3339 in UTC with milliseconds, durations whole numbers in `*_ms`. Ids carry a prefix and sort by \
            creation. Lists are pages, the newest first: give `next_cursor` back as `cursor` for the rows that follow. \
            Problems are documents of RFC 9457 with a stable `code`. A POST with an `Idempotency-Key` does its work once within \
            24 hours; the same request again gets the same answer, except that a secret is shown the first time only.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemDocument, FieldError, shapes::Fallback, shapes::Check)),
    modifiers(&Bearer),
    tags(
        (name = "scripts", description = "What talks: uploaded once, never changed, published and rolled back"),
        (name = "numbers", description = "What somebody dials, and what answers"),
        (name = "trunks", description = "By whom calls come and go: carriers, PBXs, telephones"),
        (name = "webrtc", description = "Calls from web pages and apps: tokens, and the exchange of offer and answer"),
        (name = "calls", description = "Placed, watched, ended, read"),
        (name = "webhooks", description = "Where results go, and every delivery"),
        (name = "administration", description = "Keys, the tenant, what it has used, who changed what"),
        (name = "tenants", description = "For whoever runs the deployment: its customers, what each may use, its hosts"),
        (name = "host", description = "Is it there, does it take calls"),
    )
)]
struct Frame;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("cbk_…".to_owned());
        scheme.description = Some(
            "An API key. It belongs to a tenant and has scopes; an operation's security requirement names the one it needs. \
             `write` includes `read`, `admin` everything of the tenant; `operator` is for the deployment's tenants."
                .to_owned(),
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(scheme));
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.bearer_format = Some("cbt_…".to_owned());
        token.description = Some(
            "A token for calls from a web page or an app: `POST /v1/webrtc/tokens` makes one for a number. It opens nothing else."
                .to_owned(),
        );
        components.add_security_scheme("webrtc_token", SecurityScheme::Http(token));
        let mut link = ApiKeyValue::new("signature");
        link.description =
            Some("Part of a link to a recording, which we have signed. It opens nothing else.".to_owned());
        components.add_security_scheme("recording_link", SecurityScheme::ApiKey(ApiKey::Query(link)));
    }
}

/// All operations: how they are routed, and how they are described.
pub(crate) fn routes() -> (Router<Api>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Frame::openapi())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::openapi))
        .routes(routes!(scripts::create, scripts::list))
        .routes(routes!(scripts::read, scripts::change, scripts::delete))
        .routes(routes!(scripts::publish))
        .routes(routes!(scripts::rollback))
        .routes(routes!(scripts::publications))
        .routes(routes!(versions::upload, versions::list))
        .routes(routes!(versions::read))
        .routes(routes!(component::read))
        .routes(routes!(bindings::read, bindings::replace))
        .routes(routes!(numbers::create, numbers::list))
        .routes(routes!(numbers::read, numbers::change, numbers::delete))
        .routes(routes!(trunks::create, trunks::list))
        .routes(routes!(trunks::read, trunks::change, trunks::delete))
        .routes(routes!(trunks::status))
        .routes(routes!(sip_accounts::create, sip_accounts::list))
        .routes(routes!(sip_accounts::read, sip_accounts::change, sip_accounts::delete))
        .routes(routes!(webrtc_tokens::create, webrtc_tokens::list))
        .routes(routes!(webrtc_tokens::read, webrtc_tokens::revoke))
        .routes(routes!(webrtc_calls::create))
        .routes(routes!(webrtc_calls::renew, webrtc_calls::hang_up))
        .routes(routes!(webrtc_calls::standing))
        .routes(routes!(webhooks::create, webhooks::list))
        .routes(routes!(webhooks::read, webhooks::change, webhooks::delete))
        .routes(routes!(webhooks::rotate_secret))
        .routes(routes!(webhooks::replay))
        .routes(routes!(deliveries::of_webhook))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::read))
        .routes(routes!(deliveries::redeliver))
        .routes(routes!(calls::place, calls::list))
        .routes(routes!(calls::read, calls::erase))
        .routes(routes!(calls::hangup))
        .routes(routes!(calls::send))
        .routes(routes!(conversation::transcript))
        .routes(routes!(conversation::timeline))
        .routes(routes!(conversation::events))
        .routes(routes!(conversation::tape))
        .routes(routes!(signalling::sip))
        .routes(routes!(webrtc_exchange::read))
        .routes(routes!(capture::begin))
        .routes(routes!(capture::read))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::read))
        .routes(routes!(recordings::linked))
        .routes(routes!(retention::list, retention::put, retention::delete))
        .routes(routes!(retention::put_for_number, retention::delete_for_number))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::read, keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(hosts::list))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::read, tenants::change))
        .routes(routes!(tenants::create_key))
        .routes(routes!(tenants::usage))
        .routes(routes!(tenant::read))
        .routes(routes!(usage::read))
        .routes(routes!(tenant::audit_log))
        .split_for_parts();
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            complete(path, &method, operation);
        }
    }
    for given in ["NewTrunk", "Retention"] {
        open_up(&mut document, given);
    }
    for (schema, property, shape) in SHAPED {
        shape_property(&mut document, schema, property, shape);
    }
    let words = |words: &[&str]| ArrayBuilder::new().items(one_of(words));
    for schema in ["Webhook", "CreateWebhook", "WebhookPatch", "WebhookMade"] {
        let asked =
            words(EVENT_TYPES).description(Some("Which events; empty for all but the opt-in ones (`call.turn`)."));
        put_property(&mut document, schema, "event_types", asked.build().into());
    }
    let scopes = RESOURCES.iter().flat_map(|resource| [format!("{resource}:read"), format!("{resource}:write")]);
    let scopes: Vec<String> = scopes.chain(["admin".to_owned(), OPERATOR.to_owned()]).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    if let Some(components) = &mut document.components {
        let may = words(&scopes).description(Some("What a key may do; `write` includes `read`, `admin` everything of the tenant. `operator` is for the deployment's tenants."));
        components.schemas.insert("Scopes".to_owned(), may.build().into());
    }
    (router, document)
}

/// Members whose types are described in [`shapes`].
const SHAPED: &[(&str, &str, &str)] = &[
    ("Number", "fallback", "Fallback"),
    ("NewNumber", "fallback", "Fallback"),
    ("NumberPatch", "fallback", "Fallback"),
    ("Version", "checks", "Check"),
];

/// What is shown of a trunk, or of a rule of how long things are kept, has all that can be given, and more: `allOf` with
/// what can be given would allow nothing besides, since that is closed. So it has a copy of it that is open, wherever it
/// is shown.
fn open_up(document: &mut Document, given: &str) {
    let Some(components) = &mut document.components else { return };
    let Some(RefOr::T(Schema::Object(open))) = components.schemas.get(given) else { return };
    let mut open = open.clone();
    open.additional_properties = None;
    let reference = Ref::from_schema_name(given).ref_location;
    components.schemas.values_mut().for_each(|schema| open_within(schema, &reference, &open));
}

fn open_within(schema: &mut RefOr<Schema>, reference: &str, open: &Object) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            object.properties.values_mut().for_each(|property| open_within(property, reference, open));
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                open_within(items, reference, open);
            }
        }
        Schema::AllOf(all) => {
            for item in &mut all.items {
                if matches!(item, RefOr::Ref(to) if to.ref_location == reference) {
                    *item = RefOr::T(Schema::Object(open.clone()));
                }
            }
        }
        _ => {}
    }
}

fn shape_property(document: &mut Document, schema: &str, property: &str, shape: &str) {
    let shape = RefOr::Ref(Ref::from_schema_name(shape));
    let shape = if property == "checks" { ArrayBuilder::new().items(shape).build().into() } else { shape };
    put_property(document, schema, property, shape);
}

fn put_property(document: &mut Document, schema: &str, property: &str, shape: RefOr<Schema>) {
    let known = document.components.as_mut().and_then(|components| components.schemas.get_mut(schema));
    if let Some(RefOr::T(Schema::Object(object))) = known {
        object.properties.insert(property.to_owned(), shape);
    }
}

/// One of these words.
fn one_of(words: &[&str]) -> Object {
    let words = words.iter().map(|word| Value::from(*word));
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// `scripts_versions_list`: the path's fixed parts and the handler's name, so that it is unique.
fn operation_id(path: &str, handler: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != "v1" && !part.starts_with('{'));
    let mut parts: Vec<&str> = parts.collect();
    if parts.last() != Some(&handler) {
        parts.push(handler);
    }
    parts.join("_").replace('.', "_")
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Whether it asks for a token instead of a key.
fn is_for_visitors(operation: &Operation) -> bool {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    security[0]["webrtc_token"].is_array()
}

/// Adds what holds for all operations of its kind.
fn complete(path: &str, method: &HttpMethod, operation: &mut Operation) {
    let ours = path.starts_with("/v1");
    let visits = is_for_visitors(operation);
    operation.operation_id = operation.operation_id.take().map(|handler| operation_id(path, &handler));
    let mut problems = vec![(503, "Not now: try again after `Retry-After` seconds")];
    if visits {
        problems.extend([
            (401, "`token_required`, `token_invalid`, `token_expired`, `token_revoked`"),
            (403, "`token_spent`, `origin_not_allowed`"),
            (429, "The address or the token asks too often: try again after `Retry-After` seconds"),
            (500, "Our fault"),
        ]);
    } else if ours {
        problems.extend([
            (401, "No valid key"),
            (403, "The key lacks the scope"),
            (429, "The key asks too often: try again after `Retry-After` seconds"),
            (500, "Our fault"),
        ]);
        if path.contains('{') {
            problems.push((404, "There is no such thing, or it belongs to another tenant"));
        }
    }
    let has_query = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    });
    if has_query {
        problems.push((400, "The query is not valid"));
    }
    if operation.request_body.is_some() {
        problems.extend([
            (400, "The body cannot be read, or a header is not valid"),
            (408, "The body did not arrive in time"),
            (413, if path == crate::edge::UPLOAD { "The component is too large" } else { "The body is too large" }),
            (415, "The body has another content type"),
            (422, "The input is not valid: see `errors`"),
        ]);
    } else if ours && !visits && matches!(method, HttpMethod::Post) {
        problems.extend([(400, "A header is not valid"), (422, "The Idempotency-Key was used for something else")]);
    }
    if ours && !visits && matches!(method, HttpMethod::Post) {
        problems
            .push((409, "It contradicts what is stored, or the first request with this Idempotency-Key still runs"));
        operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
    }
    for (status, description) in problems {
        let known = &mut operation.responses.responses;
        known
            .entry(status.to_string())
            .or_insert_with(|| RefOr::T(ResponseBuilder::new().description(description).build()));
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
        }
        let text = || ObjectBuilder::new().schema_type(Type::String).build();
        let header =
            HeaderBuilder::new().schema(Some(text())).description(Some("The name of the request in the host's log"));
        response.headers.insert("X-Request-Id".to_owned(), RefOr::T(header.build()));
    }
}

fn idempotency_key() -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[ -~]{1,255}$")).build();
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("A text of your choice: the same POST with the same key does its work once within 24 hours"))
        .schema(Some(schema))
        .build()
}

/// The page to browse the document, from the binary itself.
pub(crate) fn pages() -> Router {
    let config = Config::new(["/openapi.json"]).use_base_layout().try_it_out_enabled(true).persist_authorization(false);
    Router::from(SwaggerUi::new("/docs").config(config)).layer(from_fn(async |request, next: Next| {
        let mut response: Response = next.run(request).await;
        let policy =
            "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'";
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        response
    }))
}

const _: () = assert!(JSON_BYTES >= callbox_store::bindings::MAX_DOCUMENT, "the largest bindings must fit");
