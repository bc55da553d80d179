//! The documentation of the API: the OpenAPI document and two pages that render it. All their assets are compiled into
//! the program, and the pages load nothing from other hosts.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, EntityTag, Header, IfNoneMatch, VARY};
use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};
use flate2::read::GzDecoder;
use openssl::sha::sha256;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::pages;
use crate::api::accept;
use crate::api::document;
use crate::api::error::ApiError;
use crate::api::input::Query;
use crate::api::permit::{DocsRead, Permit};
use crate::config::ApiProfile;

/// Selects the OpenAPI document.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct DocumentQuery {
    /// The API profile that the document describes.
    #[param(inline)]
    api: Option<ProfileParam>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ProfileParam {
    Full,
    PixCrawler,
}

/// A file that the pages load.
struct Asset {
    name: &'static str,
    kind: &'static str,
    body: Body,
}

enum Body {
    /// A file of this repository; it may change with an update.
    Plain(&'static str),
    /// A third-party file. Its name contains its version, so its content never changes.
    Gzip(&'static [u8]),
}

/// The compressed assets, decompressed at the first request of a client that accepts no compression. All responses share
/// these bytes: a client that reads nothing holds no copy.
static DECOMPRESSED: LazyLock<BTreeMap<&'static str, Bytes>> = LazyLock::new(|| {
    let decompressed = ASSETS.iter().filter_map(|asset| match asset.body {
        Body::Plain(_) => None,
        Body::Gzip(packed) => Some((asset.name, decompressed(packed))),
    });
    decompressed.collect()
});

fn decompressed(packed: &[u8]) -> Bytes {
    let mut whole = Vec::new();
    GzDecoder::new(packed)
        .read_to_end(&mut whole)
        .expect("the asset was compressed at build time");
    whole.into()
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr, $form:ident($($body:tt)+);)+) => {
        const ASSETS: &[Asset] = &[$(Asset { name: $name, kind: $kind, body: Body::$form($($body)+) }),+];
    };
}

assets! {
    "docs.css": CSS, Plain(include_str!("../../../assets/docs.css"));
    "docs.js": SCRIPT, Plain(include_str!("../../../assets/docs.js"));
    "home.css": CSS, Plain(include_str!("../../../assets/home.css"));
    "icon.svg": "image/svg+xml", Plain(include_str!("../../../assets/icon.svg"));
    "pages.css": CSS, Plain(include_str!("../../../assets/pages.css"));
    "redoc.css": CSS, Plain(include_str!("../../../assets/redoc.css"));
    "redoc.js": SCRIPT, Plain(include_str!("../../../assets/redoc.js"));
    "redoc-2.5.4.js": SCRIPT, Gzip(include_bytes!("../../../assets/redoc/redoc.standalone.js.gz"));
    "swagger-ui-5.35.0.css": CSS, Gzip(include_bytes!("../../../assets/swagger-ui/swagger-ui.css.gz"));
    "swagger-ui-5.35.0.js": SCRIPT, Gzip(include_bytes!("../../../assets/swagger-ui/swagger-ui-bundle.js.gz"));
}

/// Get the OpenAPI document
///
/// OpenAPI 3.1, the same as `watchpost openapi` prints.
#[utoipa::path(
    get,
    path = "",
    operation_id = "openapi",
    responses(
        (status = 200, description = "The API, as it is served by the version that runs.", body = Object),
        (status = 304, description = "Not modified: the client has the current version.")
    )
)]
pub async fn openapi(_: Permit<DocsRead>, query: Query<DocumentQuery>, request: HttpRequest) -> HttpResponse {
    let api = match query.api {
        None | Some(ProfileParam::Full) => ApiProfile::Full,
        Some(ProfileParam::PixCrawler) => ApiProfile::PixCrawler,
    };
    revalidated(&request, "application/json", document::written(api))
}

/// Try the API in Swagger UI
///
/// Requests use the browser's client certificate, or a token that the user enters.
#[utoipa::path(
    get,
    path = "",
    operation_id = "docs",
    responses((status = 200, description = "A page for people.", body = String, content_type = "text/html"))
)]
pub async fn swagger_ui(_: Permit<DocsRead>) -> HttpResponse {
    // Swagger UI has `data:` images in its style sheet.
    pages::html(
        include_str!("../../../assets/docs.html"),
        "script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'",
    )
}

/// Read the API reference in Redoc
#[utoipa::path(
    get,
    path = "",
    operation_id = "redoc",
    responses((status = 200, description = "A page for people.", body = String, content_type = "text/html"))
)]
pub async fn redoc(_: Permit<DocsRead>) -> HttpResponse {
    // Redoc creates an empty style element (the first hash is that of the empty string), which it fills by script, and one
    // for its scroll bars with constant content; and it searches in a worker.
    pages::html(
        include_str!("../../../assets/redoc.html"),
        // Redoc fills an inline style sheet by script; the hash of the empty text allows that and nothing else.
        "script-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
         'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; img-src 'self' data:; connect-src 'self'; worker-src blob:",
    )
}

/// Get an asset of the documentation pages
#[utoipa::path(
    get,
    path = "",
    operation_id = "docs_asset",
    responses(
        (
            status = 200,
            description = "A script, a style sheet or a picture.",
            content((String = "text/css"), (String = "text/javascript"), (String = "image/svg+xml"))
        ),
        (status = 304, description = "Not modified: the client has the current version.")
    )
)]
pub async fn asset(_: Permit<DocsRead>, file: Path<String>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asset = ASSETS.iter().find(|asset| asset.name == *file);
    let asset = asset.ok_or_else(|| ApiError::NotFound(request.path().to_owned()))?;
    match asset.body {
        Body::Plain(text) => Ok(revalidated(&request, asset.kind, text)),
        Body::Gzip(packed) => Ok(lasting(&request, asset, packed)),
    }
}

/// A text with an entity tag, which clients revalidate at each use.
fn revalidated(request: &HttpRequest, kind: &str, text: &'static str) -> HttpResponse {
    // The tag is weak, because the response may be compressed.
    let tag = EntityTag::new_weak(hex(&sha256(text.as_bytes())[..16]));
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut response = match known {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "no-cache"));
    match known {
        true => response.finish(),
        false => response.content_type(kind).body(text),
    }
}

/// An asset that never changes. It is stored compressed, and nearly all clients accept that form.
fn lasting(request: &HttpRequest, asset: &Asset, packed: &'static [u8]) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response
        .content_type(asset.kind)
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((VARY, "accept-encoding"));
    if accept::accepts_gzip(request) {
        return response.insert_header((CONTENT_ENCODING, "gzip")).body(packed);
    }
    response.body(DECOMPRESSED.get(asset.name).cloned().unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compressed_asset_can_be_decompressed() {
        for asset in ASSETS {
            if let Body::Gzip(packed) = asset.body {
                let text = String::from_utf8(DECOMPRESSED[asset.name].to_vec()).expect(asset.name);
                assert!(text.len() > packed.len(), "{}", asset.name);
                let end = text.trim_end().lines().last().unwrap_or_default();
                assert!(
                    !end.starts_with("//# sourceMappingURL=") && !end.ends_with(".map */"),
                    "{} refers to a source map that is missing",
                    asset.name
                );
            }
        }
    }

    #[test]
    fn pages_refer_to_existing_assets_only() {
        let pages = [
            include_str!("../../../assets/docs.html"),
            include_str!("../../../assets/redoc.html"),
            include_str!("../../../templates/base.html"),
        ];
        let names = pages.iter().flat_map(|page| page.split("/docs/assets/").skip(1));
        let names: Vec<_> = names.filter_map(|rest| rest.split('"').next()).collect();
        assert!(names.len() > 10);
        for name in names {
            assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
        }
    }
}
