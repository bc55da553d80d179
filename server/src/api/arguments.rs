//! Derives a request's specification (permissions, parameters, body) from the argument types of its handler, so the
//! OpenAPI document always agrees with the handler.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path, Payload};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use watchpost_policies::{Action, Digest};

use super::input::{JsonBody, OptionalJson, Query};
use super::permit::{Permission, Permit};

/// What a handler requires of a request.
#[derive(Default)]
pub struct HandlerSpec {
    /// The actions that the client needs permission for.
    pub actions: Vec<Action>,
    /// Whether a client on this machine needs no permission, on a listener with the PixCrawler profile.
    pub open_on_loopback: bool,
    /// The schemas of the named path segments, in order.
    pub in_path: Vec<RefOr<Schema>>,
    /// Query and header parameters.
    pub parameters: Vec<Parameter>,
    /// The schema of the body.
    pub body: Option<RequestBody>,
    /// The schemas that the others refer to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

/// An argument of a handler, or a tuple of all its arguments.
pub trait Argument {
    /// Adds the argument's part of the specification.
    fn describe(spec: &mut HandlerSpec);
}

impl HandlerSpec {
    /// The specification of these arguments.
    pub fn by<Args: Argument>() -> Self {
        let mut spec = Self::default();
        Args::describe(&mut spec);
        spec
    }

    fn json<T: ToSchema>(&mut self, required: Required) {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name())));
        let body = RequestBodyBuilder::new()
            .content("application/json", content.build())
            .required(Some(required));
        self.body = Some(body.build());
    }
}

impl<A: Permission> Argument for Permit<A> {
    fn describe(spec: &mut HandlerSpec) {
        spec.actions.push(A::ACTION);
    }
}

impl<T: ToSchema> Argument for JsonBody<T> {
    fn describe(spec: &mut HandlerSpec) {
        spec.json::<T>(Required::True);
    }
}

impl<T: ToSchema> Argument for OptionalJson<T> {
    fn describe(spec: &mut HandlerSpec) {
        spec.json::<T>(Required::False);
    }
}

impl<T: IntoParams> Argument for Query<T> {
    fn describe(spec: &mut HandlerSpec) {
        let mut parameters = T::into_params(|| Some(ParameterIn::Query));
        for schema in parameters.iter_mut().filter_map(|parameter| parameter.schema.as_mut()) {
            never_null(schema);
        }
        spec.parameters.extend(parameters);
    }
}

/// An optional query parameter may be left out, but it cannot be null.
fn never_null(schema: &mut RefOr<Schema>) {
    let is_null = |schema: &RefOr<Schema>| match schema {
        RefOr::T(Schema::Object(object)) => object.schema_type == SchemaType::Type(Type::Null),
        _ => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|kind| *kind != Type::Null);
                if let [kind] = &types[..] {
                    object.schema_type = SchemaType::Type(kind.clone());
                }
            }
        }
        RefOr::T(Schema::OneOf(one_of)) => {
            one_of.items.retain(|item| !is_null(item));
            if let [item] = &one_of.items[..] {
                *schema = item.clone();
            }
        }
        _ => {}
    }
}

impl<T: InPath> Argument for Path<T> {
    fn describe(spec: &mut HandlerSpec) {
        spec.in_path = T::parts();
    }
}

/// The named path segments, in order.
trait InPath {
    fn parts() -> Vec<RefOr<Schema>>;
}

macro_rules! in_path {
    ($($name:ty: $($part:ty),+;)+) => {
        $(impl InPath for $name {
            fn parts() -> Vec<RefOr<Schema>> {
                vec![$(<$part>::schema()),+]
            }
        })+
    };
}

in_path! {
    String: String;
    i64: i64;
    u64: u64;
    (String, Digest): String, Digest;
}

macro_rules! silent {
    ($($name:ty),+) => {
        $(impl Argument for $name {
            fn describe(_: &mut HandlerSpec) {}
        })+
    };
}

// A handler without arguments needs nothing, and the attribute of a handler describes a streamed body.
silent!((), HttpRequest, Payload);

impl<T: ?Sized> Argument for Data<T> {
    fn describe(_: &mut HandlerSpec) {}
}

macro_rules! all_of {
    ($($name:ident)+) => {
        impl<$($name: Argument),+> Argument for ($($name,)+) {
            fn describe(spec: &mut HandlerSpec) {
                $($name::describe(spec);)+
            }
        }
    };
}

all_of!(A);
all_of!(A B);
all_of!(A B C);
all_of!(A B C D);
all_of!(A B C D E);
all_of!(A B C D E F);
all_of!(A B C D E F G);
all_of!(A B C D E F G H);
