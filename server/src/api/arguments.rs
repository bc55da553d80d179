//! What the arguments of a handler say of the requests that it takes: which permissions they need, which parameters
//! and which body they have. So the document cannot say anything else than the handler does.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Path, Payload, Query};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use watchpost_policies::{Action, Digest};

use super::body::OptionalJson;
use super::permit::{Permission, Permit};

/// What a request has to have.
#[derive(Default)]
pub struct HandlerSpec {
    /// What the client has to be allowed to do.
    pub actions: Vec<Action>,
    /// Whether some clients are not asked for it.
    pub open_on_loopback: bool,
    /// What each part of the path that has a name is.
    pub in_path: Vec<RefOr<Schema>>,
    /// Parameters of the query, and headers.
    pub parameters: Vec<Parameter>,
    /// Its body.
    pub body: Option<RequestBody>,
    /// What these refer to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

/// An argument of a handler, or all of them.
pub trait Argument {
    /// Adds what it says.
    fn tell(asked: &mut HandlerSpec);
}

impl HandlerSpec {
    /// What these arguments say.
    pub fn by<Args: Argument>() -> Self {
        let mut asked = Self::default();
        Args::tell(&mut asked);
        asked
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
    fn tell(asked: &mut HandlerSpec) {
        asked.actions.push(A::ACTION);
    }
}

impl<T: ToSchema> Argument for Json<T> {
    fn tell(asked: &mut HandlerSpec) {
        asked.json::<T>(Required::True);
    }
}

impl<T: ToSchema> Argument for OptionalJson<T> {
    fn tell(asked: &mut HandlerSpec) {
        asked.json::<T>(Required::False);
    }
}

impl<T: IntoParams> Argument for Query<T> {
    fn tell(asked: &mut HandlerSpec) {
        let mut parameters = T::into_params(|| Some(ParameterIn::Query));
        for schema in parameters.iter_mut().filter_map(|parameter| parameter.schema.as_mut()) {
            never_null(schema);
        }
        asked.parameters.extend(parameters);
    }
}

/// What is left away in a query is not there; it cannot be null.
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
    fn tell(asked: &mut HandlerSpec) {
        asked.in_path = T::parts();
    }
}

/// The parts of a path that have names, in the order in which they come.
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
            fn tell(_: &mut HandlerSpec) {}
        })+
    };
}

// What is in a body that is read as it comes, the handler's attribute says.
silent!(HttpRequest, Payload);

impl<T: ?Sized> Argument for Data<T> {
    fn tell(_: &mut HandlerSpec) {}
}

macro_rules! all_of {
    ($($name:ident)+) => {
        impl<$($name: Argument),+> Argument for ($($name,)+) {
            fn tell(asked: &mut HandlerSpec) {
                $($name::tell(asked);)+
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
