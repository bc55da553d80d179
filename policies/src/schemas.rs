//! OpenAPI schemas of types that are serialized as a text or a map. Types with fields derive theirs.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Schema, Type};
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
    Action: text("An action of a request")
        .enum_values(Some(Action::ALL.iter().map(|action| action.as_str())));
    Digest: text("A SHA-256, in hexadecimal digits")
        .pattern(Some("^[0-9a-f]{64}$"))
        .examples([example_digest()]);
    DistinguishedName: text("A distinguished name in the format of RFC 4514").examples(["CN=ada,O=Example"]);
    Labels: ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("The labels of a series"))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)));
    MetricName: text("The name of a metric")
        .pattern(Some("^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$"))
        .examples(["memory"]);
    MetricPattern: text("The name of a metric, or a prefix of names followed by *").examples(["node_memory_*"]);
    // One schema for all kinds, so that a new kind does not break clients.
    Misbehaviour: ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("A fault of a rule; further fields depend on the kind"))
        .property("fault", text("The kind of the fault").examples(["timeout"]))
        .required("fault")
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)));
    Unit: text("The unit of a value; empty for a plain count").examples(["percent"]);
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

/// One schema for all kinds, which clients handle better than a union.
fn identity() -> ObjectBuilder {
    let kind = text("How the client authenticated").enum_values(Some(["anonymous", "certificate", "token"]));
    let mut identity = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("An identity; the fields depend on the kind"))
        .property("kind", kind)
        .required("kind")
        .property("name", text("The name of a token"))
        .property(
            "assigned_roles",
            ArrayBuilder::new()
                .description(Some(
                    "The roles that the server assigns to the identity: those of a token, or that of a certificate of its development authority",
                ))
                .items(ObjectBuilder::new().schema_type(Type::String)),
        )
        .property(
            "proxy",
            text("The kind of proxy certificate by which the client acts for the identity")
                .enum_values(Some(["full", "limited"])),
        );
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

/// Any constant digest.
fn example_digest() -> String {
    Digest::of(b"a rule").to_string()
}
