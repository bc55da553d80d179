//! What those types are in OpenAPI that write themselves as a text or a map. Types with fields derive it where they
//! are.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::access::{Action, Certificate, Identity};
use crate::digest::Digest;
use crate::fault::Misbehaviour;
use crate::name::DistinguishedName;
use crate::series::{Labels, MetricName, MetricPattern, Unit};

macro_rules! texts {
    ($($name:ident: $schema:expr;)+) => {
        $(
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema.build().into()
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

texts! {
    Action: text("Something that a request can be to do")
        .enum_values(Some(Action::ALL.iter().map(|action| action.as_str())));
    Digest: text("A SHA-256, in hexadecimal digits")
        .pattern(Some("^[0-9a-f]{64}$"))
        .examples([example_digest()]);
    DistinguishedName: text("A name as RFC 4514 writes it").examples(["CN=ada,O=Example"]);
    Labels: ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What tells a series from its like"))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)));
    MetricName: text("The name of a metric")
        .pattern(Some("^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$"))
        .examples(["memory"]);
    MetricPattern: text("The name of a metric, or the beginning of some and *").examples(["node_memory_*"]);
    // One schema for each would make every new way a break for clients.
    Misbehaviour: ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("What a rule did that it must not do; what else is there depends on it"))
        .property("fault", text("In a word").examples(["overtime"]))
        .required("fault")
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)));
    Unit: text("What a number counts; empty for a plain count").examples(["percent"]);
}

impl PartialSchema for Identity {
    fn schema() -> RefOr<Schema> {
        identity().build().into()
    }
}

impl ToSchema for Identity {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Certificate::schemas(schemas);
    }
}

/// Whatever kind it is: clients like one type better than one of three.
fn identity() -> ObjectBuilder {
    let kind = text("By what it is known").enum_values(Some(["anonymous", "certificate", "token"]));
    let mut identity = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Who somebody is; what is told of them depends on the kind"))
        .property("kind", kind)
        .required("kind")
        .property("name", text("The name of a token"));
    if let RefOr::T(Schema::Object(certificate)) = Certificate::schema() {
        for (name, schema) in certificate.properties {
            identity = identity.property(name, schema);
        }
    }
    identity
}

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

/// Any one will do, as long as it is always the same.
fn example_digest() -> String {
    Digest::of(b"a rule").to_string()
}
