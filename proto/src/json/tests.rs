//! proto3 JSON against an independent implementation that passes the official conformance suite.

use std::fmt::Debug;

use crate::{descriptor_pool, json, v1};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::TestCaseError};
use prost::Message;
use prost_reflect::{
    Cardinality, DeserializeOptions, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind,
    MessageDescriptor, SerializeOptions,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

// === strategies ===

/// A legal JSON form of a message of this kind: any spelling of names, numbers, enums and bytes that proto3 JSON knows.
fn message_json(descriptor: &MessageDescriptor) -> BoxedStrategy<Value> {
    let mut fields: Vec<BoxedStrategy<Vec<(String, Value)>>> = Vec::new();
    for oneof in descriptor.oneofs() {
        let members: Vec<FieldDescriptor> = oneof.fields().collect();
        let one = select(members).prop_flat_map(|field| field_json(&field));
        fields.push(option::of(one).prop_map(|one| one.into_iter().collect()).boxed());
    }
    for field in descriptor
        .fields()
        .filter(|field| field.containing_oneof().is_none())
    {
        let value = option::weighted(0.6, field_json(&field));
        fields.push(value.prop_map(|one| one.into_iter().collect()).boxed());
    }
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>()))
        .boxed()
}

fn field_json(field: &FieldDescriptor) -> BoxedStrategy<(String, Value)> {
    let names = vec![field.json_name().to_owned(), field.name().to_owned()];
    let value = if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            unreachable!()
        };
        let value = single_json(&entry.map_entry_value_field().kind());
        vec((any::<String>(), value), 0..4)
            .prop_map(|entries| Value::Object(entries.into_iter().collect()))
            .boxed()
    } else if field.cardinality() == Cardinality::Repeated {
        vec(single_json(&field.kind()), 0..4)
            .prop_map(Value::Array)
            .boxed()
    } else {
        single_json(&field.kind())
    };
    let value = prop_oneof![9 => value, 1 => Just(Value::Null)];
    (select(names), value).boxed()
}

fn single_json(kind: &Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Int32 => prop_oneof![any::<i32>().prop_map(Value::from), small_float(), small_text()].boxed(),
        Kind::Int64 => prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<i64>().prop_map(|n| json!(n.to_string())),
            small_float()
        ]
        .boxed(),
        Kind::Uint32 => prop_oneof![any::<u32>().prop_map(Value::from), small_float(), small_text()].boxed(),
        Kind::Uint64 => prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<u64>().prop_map(|n| json!(n.to_string())),
            small_float()
        ]
        .boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => any::<String>().prop_map(Value::String).boxed(),
        Kind::Bytes => (vec(any::<u8>(), 0..40), 0..4_usize)
            .prop_map(|(bytes, form)| {
                let engine = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD][form];
                json!(engine.encode(bytes))
            })
            .boxed(),
        Kind::Enum(descriptor) => enum_json(descriptor),
        Kind::Message(descriptor) => message_json(descriptor),
        other => unreachable!("the contract has no {other:?}"),
    }
}

fn small_float() -> BoxedStrategy<Value> {
    (0_u32..1_000_000).prop_map(|n| json!(f64::from(n))).boxed()
}

fn small_text() -> BoxedStrategy<Value> {
    (0_u32..1_000_000).prop_map(|n| json!(n.to_string())).boxed()
}

fn enum_json(descriptor: &EnumDescriptor) -> BoxedStrategy<Value> {
    let forms = descriptor
        .values()
        .flat_map(|value| [json!(value.name()), json!(value.number())]);
    select(forms.collect::<Vec<_>>()).boxed()
}

// === the oracle ===

fn descriptor<T: prost::Name>() -> MessageDescriptor {
    descriptor_pool().get_message_by_name(&T::full_name()).unwrap()
}

fn oracle_decode<T: prost::Name + Default>(value: &Value) -> Result<T, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    // By text: the numbers of a parsed value would reach the oracle through another path than a client's do.
    let text = value.to_string();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let message = DynamicMessage::deserialize_with_options(descriptor::<T>(), &mut deserializer, &options)
        .map_err(|error| error.to_string())?;
    message.transcode_to::<T>().map_err(|error| error.to_string())
}

fn oracle_encode<T: prost::Name + Default>(message: &T) -> Value {
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .stringify_64_bit_integers(true);
    let mut dynamic = DynamicMessage::new(descriptor::<T>());
    dynamic.transcode_from(message).unwrap();
    drop_absent(
        dynamic
            .serialize_with_options(serde_json::value::Serializer, &options)
            .unwrap(),
    )
}

/// The oracle writes an absent message as null; we leave it out, which readers must take for the same.
fn drop_absent(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, drop_absent(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(drop_absent).collect(),
        scalar => scalar,
    }
}

fn agrees<T>(value: &Value) -> Result<(), TestCaseError>
where
    T: prost::Name + Message + Default + PartialEq + Debug + DeserializeOwned + Serialize,
{
    let ours: T = json::from_slice(value.to_string().as_bytes())
        .map_err(|error| TestCaseError::fail(format!("{value}: {error}")))?;
    let theirs: T = oracle_decode(value).map_err(|error| TestCaseError::fail(format!("{value}: {error}")))?;
    prop_assert_eq!(&ours, &theirs);
    let encoded = serde_json::to_value(&ours).unwrap();
    prop_assert_eq!(&encoded, &oracle_encode(&ours));
    prop_assert_eq!(json::from_value::<T>(encoded).unwrap(), ours);
    Ok(())
}

macro_rules! agree_with_the_oracle {
    ($($test:ident: $message:ident),* $(,)?) => {
        proptest! {$(
            #[test]
            fn $test(value in message_json(&descriptor::<v1::$message>())) {
                agrees::<v1::$message>(&value)?;
            }
        )*}
    };
}

agree_with_the_oracle! {
    create_build_request: CreateBuildRequest,
    list_builds_request: ListBuildsRequest,
    stream_build_logs_request: StreamBuildLogsRequest,
    save_build_secrets_request: SaveBuildSecretsRequest,
    upload_build_context_request: UploadBuildContextRequest,
    get_build_secrets_response: GetBuildSecretsResponse,
    build: Build,
    build_log_chunk: BuildLogChunk,
}

// === the short way and the walk ===

/// All places in a value, as JSON pointers.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(inner, &format!("{at}/{name}"), out);
            }
        }
        Value::Array(items) => {
            for (nth, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{nth}"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value of about the right shape: something in it is replaced.
fn nearly(descriptor: &MessageDescriptor) -> BoxedStrategy<Value> {
    let others = [
        json!(null),
        json!(true),
        json!(-1),
        json!(7),
        json!(2.5),
        json!(1e300),
        json!(""),
        json!("7"),
        json!("+7"),
        json!("a=b"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"other": 1}),
    ];
    (
        message_json(descriptor),
        any::<proptest::sample::Index>(),
        select(others.to_vec()),
    )
        .prop_map(|(mut value, which, other)| {
            let mut all = Vec::new();
            places(&value, "", &mut all);
            if let Some(place) = value.pointer_mut(which.get::<String>(&all)) {
                *place = other;
            }
            value
        })
        .boxed()
}

macro_rules! the_short_way_takes_what_the_walk_takes {
    ($($test:ident: $message:ident),* $(,)?) => {
        proptest! {$(
            #[test]
            fn $test(value in nearly(&descriptor::<v1::$message>())) {
                let short = json::from_slice::<v1::$message>(value.to_string().as_bytes());
                // Read as the short way reads it: a value may hold a number that its text does not.
                let read = serde_json::from_str(&value.to_string()).unwrap();
                prop_assert_eq!(short, json::from_value(read));
            }
        )*}
    };
}

the_short_way_takes_what_the_walk_takes! {
    nearly_a_create_build_request: CreateBuildRequest,
    nearly_a_list_builds_request: ListBuildsRequest,
    nearly_secrets: SaveBuildSecretsRequest,
    nearly_a_build: Build,
}

// === what the oracle is not asked ===

fn refused<T: DeserializeOwned + prost::Name + Debug>(value: &Value) -> String {
    json::from_slice::<T>(value.to_string().as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn every_fault_is_named_by_its_path() {
    let error = json::from_slice::<v1::CreateBuildRequest>(
        br#"{"nmae": "x", "tags": ["a", 7], "buildArgs": {"A B": null}, "gitSource": {"url": 1},
             "timeoutSecs": "soon", "noCache": "true", "priority": 1.5}"#,
    )
    .unwrap_err();
    let mut fields: Vec<&str> = error
        .violations
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    fields.sort_unstable();
    let expected = [
        r#"build_args["A B"]"#,
        "git_source.url",
        "nmae",
        "no_cache",
        "priority",
        "tags[1]",
        "timeout_secs",
    ];
    assert_eq!(fields, expected);
    assert!(error.to_string().contains("did you mean name?"), "{error}");
}

#[test]
fn faults_never_repeat_a_string() {
    let error = refused::<v1::CreateBuildRequest>(&json!({
        "timeoutSecs": "hunter2", "zippedCode": "hunter2!", "noCache": "hunter2", "buildArgs": "hunter2",
    }));
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn forms_that_are_not_proto3_json_are_refused() {
    for (value, expected) in [
        (json!([]), "body: must be an object"),
        (json!({"timeoutSecs": -1}), "timeout_secs: must be a whole number"),
        (
            json!({"timeoutSecs": 18_446_744_073_709_551_616.0}),
            "timeout_secs",
        ),
        (json!({"priority": 2_147_483_648_u32}), "priority"),
        (json!({"tags": "latest"}), "tags: must be a list"),
        (json!({"tags": [null]}), "tags[0]"),
        (json!({"noCache": 1}), "no_cache: must be true or false"),
        (json!({"name": "a", "name ": "b"}), "name : "),
        (json!({"zippedCode": "a"}), "zipped_code: is not base64"),
        (
            json!({"zippedCode": "YQ==", "contextId": "ctx"}),
            "cannot be combined",
        ),
        (
            json!({"noCache": true, "no_cache": false}),
            "no_cache: is there twice",
        ),
    ] {
        let error = refused::<v1::CreateBuildRequest>(&value);
        assert!(error.contains(expected), "{value}: {error}");
    }
    let error = json::from_slice::<v1::CreateBuildRequest>(b"{\"name\": ").unwrap_err();
    assert!(error.to_string().starts_with("body: is not JSON"), "{error}");
}

#[test]
fn an_empty_body_is_the_empty_message() {
    for body in ["", " \n", "{}"] {
        assert_eq!(
            json::from_slice(body.as_bytes()),
            Ok(v1::CreateBuildRequest::default())
        );
    }
}

#[test]
fn absent_messages_are_left_out_and_every_other_field_is_emitted() {
    let build = serde_json::to_value(v1::Build::default()).unwrap();
    let fields = descriptor::<v1::Build>().fields().len();
    assert_eq!(build.as_object().unwrap().len(), fields - 1);
    assert_eq!(build.get("createdAtMs"), Some(&json!("0")));
    assert_eq!(build.get("error"), Some(&json!("")));
    assert_eq!(build.get("metrics"), None);
}

// === query ===

fn query(text: &str) -> Result<v1::ListBuildsRequest, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    json::from_query(pairs, &[]).map_err(|error| error.to_string())
}

#[test]
fn query_parameters_bind_in_either_case_style() {
    let expected = v1::ListBuildsRequest {
        limit: 5,
        status_filter: v1::BuildStatus::Failed.into(),
        cursor: "c".into(),
        label_filter: [("team".into(), "x".into()), ("a.b/c".into(), String::new())].into(),
        ..Default::default()
    };
    for text in [
        "limit=5&statusFilter=BUILD_STATUS_FAILED&cursor=c&labelFilter[team]=x&labelFilter[a.b/c]=",
        "limit=5&status_filter=4&cursor=c&label_filter[team]=x&labelFilter[a.b/c]=",
    ] {
        assert_eq!(query(text), Ok(expected.clone()), "{text}");
    }
    let logs: v1::StreamBuildLogsRequest =
        json::from_query([("from_start", "true"), ("offset", "18446744073709551615")], &[]).unwrap();
    assert!(logs.from_start);
    assert_eq!(logs.offset, u64::MAX);
    let secrets: v1::SaveBuildSecretsRequest =
        json::from_query([("clear", "1"), ("clear", "SECRET_GROUP_BUILD_SECRETS")], &[]).unwrap();
    assert_eq!(secrets.clear, [1, 3]);
}

#[test]
fn wrong_query_parameters_are_refused_by_name() {
    for (text, expected) in [
        (
            "limt=5",
            "limt: ListBuildsRequest has no such field; did you mean limit?",
        ),
        ("limit=five", "limit: must be a whole number"),
        ("limit=", "limit: must be a whole number"),
        ("limit=1&limit=2", "limit: is there twice"),
        (
            "statusFilter=FAILED",
            "status_filter: must be one of BUILD_STATUS_UNSPECIFIED",
        ),
        ("statusFilter=9", "status_filter: must be one of"),
        ("labelFilter=x", "label_filter: is a map"),
        (
            "label_filter[a]=x&labelFilter[a]=y",
            "label_filter: is there twice",
        ),
        ("cursor[a]=x", "cursor: takes no [key]"),
    ] {
        let error = query(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let error =
        json::from_query::<v1::StreamBuildLogsRequest, _, _>([("from_start", "yes")], &[]).unwrap_err();
    assert!(
        error.to_string().contains("from_start: must be true or false"),
        "{error}"
    );
    let error = json::from_query::<v1::CreateBuildRequest, _, _>([("git_source", "x")], &[]).unwrap_err();
    assert!(
        error.to_string().contains("cannot be given in the query"),
        "{error}"
    );
}

#[test]
fn the_descriptors_carry_the_http_annotations() {
    let service = descriptor_pool()
        .get_service_by_name("dodil.ignite.v1.BuildService")
        .unwrap();
    let http = descriptor_pool()
        .get_extension_by_name("google.api.http")
        .unwrap();
    let annotated = service
        .methods()
        .filter(|method| method.options().has_extension(&http))
        .count();
    assert_eq!(
        annotated,
        service.methods().len() - 1,
        "all but the client-streaming upload"
    );
}

#[test]
fn the_path_gives_an_id_and_body_and_query_must_agree() {
    let path = [("build_id", "bld_1")];
    for body in [
        "",
        "{}",
        r#"{"buildId": "bld_1"}"#,
        r#"{"build_id": "bld_1"}"#,
        r#"{"buildId": null}"#,
    ] {
        let request: v1::CancelBuildRequest = json::from_slice_under(body.as_bytes(), &path).unwrap();
        assert_eq!(request.build_id, "bld_1", "{body}");
    }
    for body in [r#"{"buildId": "bld_2"}"#, r#"{"build_id": 7}"#] {
        let error = json::from_slice_under::<v1::CancelBuildRequest>(body.as_bytes(), &path).unwrap_err();
        assert_eq!(error.to_string(), "build_id: differs from the one in the path");
    }
    let request: v1::GetBuildRequest = json::from_query([("buildId", "bld_1")], &path).unwrap();
    assert_eq!(request.build_id, "bld_1");
    assert!(json::from_query::<v1::GetBuildRequest, _, _>([("build_id", "bld_2")], &path).is_err());
}
