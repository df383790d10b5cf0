//! Reads query strings strictly: the answer to an unknown, repeated or wrong parameter is a 422 that names the parameter.
//!
//! The same type documents an operation's parameters (`IntoParams`) and reads them (`Deserialize`), so the allowed names are the
//! names in the OpenAPI document.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use postrider_http::json::value_error;
use postrider_http::problem::{FieldError, Problem};
use postrider_model::filters::parsed;
use postrider_model::limits::{PAGE_DEFAULT, PAGE_MAX};
use postrider_model::time::UnixMillis;
use postrider_operations::page::PageQuery;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use utoipa::IntoParams;

/// The parameters of an operation.
pub(crate) trait Parameters: IntoParams + DeserializeOwned {
    /// The prefix of the parameters that [`Parameters::take`] stores, such as `attributes.`; `None` if there are no such
    /// parameters.
    const PREFIX: Option<&str> = None;

    /// Stores the value of the parameter `<prefix><name>`, or returns what is wrong with it.
    fn take(&mut self, _name: &str, _value: &str) -> Result<(), &'static str> {
        Ok(())
    }

    /// Checks parameters against each other.
    fn check(&self) -> Result<(), FieldError> {
        Ok(())
    }
}

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// The parameters of a request for a page of a list.
#[derive(Debug)]
pub(crate) struct Paged<T = NoParams> {
    pub(crate) params: T,
    pub(crate) page: PageQuery,
}

/// No parameters.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct NoParams {}

impl Parameters for NoParams {}

/// The parameter `tenant` of an operation on one tenant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read with the key")]
pub(crate) struct TenantParam {
    /// The tenant, by id or external id. Only with an operator key.
    #[param(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    tenant: Option<String>,
}

/// The parameter `tenant` of a list that an operator can read for all tenants together.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read with the key")]
pub(crate) struct AnyTenantParam {
    /// The tenant, by id or external id; all tenants if absent. Only with an operator key.
    #[param(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    tenant: Option<String>,
}

/// The page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct PageParams {
    /// Maximum number of items on the page; 50 by default.
    #[serde(deserialize_with = "limit")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the previous page; absent for the first page.
    #[serde(deserialize_with = "parsed")]
    cursor: Option<String>,
}

impl Parameters for PageParams {}

impl From<PageParams> for PageQuery {
    fn from(params: PageParams) -> Self {
        let cursor = params.cursor.filter(|cursor| !cursor.is_empty());
        Self { limit: params.limit.unwrap_or(PAGE_DEFAULT), cursor }
    }
}

/// The maximum length of a list that has no pages.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct Limit {
    /// Maximum number of items; 50 by default.
    #[serde(deserialize_with = "limit")]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, example = 50)]
    limit: Option<u32>,
}

impl Parameters for Limit {}

impl Limit {
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE_DEFAULT)
    }
}

/// A query string, and the mistakes that were found in it.
struct Reader {
    pairs: Vec<(String, String)>,
    mistakes: Vec<FieldError>,
}

impl Reader {
    fn new(parts: &Parts) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        Self { pairs: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(), mistakes: Vec::new() }
    }

    /// Adds a mistake for each repeated parameter, and for each parameter other than `allowed`, `<prefix><name>` and `tenant`.
    /// (Authentication reads `tenant`.)
    fn allow(&mut self, mut allowed: Vec<String>, prefix: Option<&str>) {
        let prefixed = |name: &str| prefix.is_some_and(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
        allowed.sort_by_key(|name| matches!(name.as_str(), "limit" | "cursor"));
        let names = allowed.iter().cloned().chain(prefix.map(|prefix| format!("{prefix}<name>")));
        let names: Vec<String> = names.chain(["tenant".to_owned()]).collect();
        for (index, (name, _)) in self.pairs.iter().enumerate() {
            if name != "tenant" && !allowed.contains(name) && !prefixed(name) {
                let detail = format!("unknown parameter; allowed: {}", names.join(", "));
                self.mistakes.push(FieldError::new(name, detail));
            } else if self.pairs[..index].iter().any(|(before, _)| before == name) {
                self.mistakes.push(FieldError::new(name, "given more than once"));
            }
        }
    }

    /// Reads the parameters of a type, and adds a mistake for each wrong parameter.
    fn read<T: Parameters>(&mut self) -> Option<T> {
        let own = names::<T>();
        let pairs = self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs: Vec<_> = pairs.filter(|(name, _)| own.iter().any(|own| own == name)).collect();
        for pair in &pairs {
            if let Err(error) = T::deserialize(from_text([*pair])) {
                self.mistakes.push(FieldError::new(pair.0, value_error(&error.to_string())));
            }
        }
        let mut read = T::deserialize(from_text(pairs)).ok()?;
        for (name, value) in &self.pairs {
            if let Some(rest) = T::PREFIX.and_then(|prefix| name.strip_prefix(prefix))
                && let Err(detail) = read.take(rest, value)
            {
                self.mistakes.push(FieldError::new(name, detail));
            }
        }
        read.check().map_err(|mistake| self.mistakes.push(mistake)).ok()?;
        Some(read)
    }

    fn finish<T>(self, read: Option<T>) -> Result<T, Problem> {
        match read {
            Some(read) if self.mistakes.is_empty() => Ok(read),
            _ => Err(Problem::unprocessable(self.mistakes)),
        }
    }
}

/// The names of a type's parameters in the OpenAPI document.
fn names<T: IntoParams>() -> Vec<String> {
    T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect()
}

fn from_text<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str), IntoIter: 'a>,
) -> MapDeserializer<'a, impl Iterator<Item = (&'a str, &'a str)> + 'a, serde::de::value::Error> {
    MapDeserializer::new(pairs.into_iter())
}

impl<T: Parameters, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut reader = Reader::new(parts);
        reader.allow(names::<T>(), T::PREFIX);
        let read = reader.read().map(Self);
        reader.finish(read)
    }
}

impl<T: Parameters, S: Send + Sync> FromRequestParts<S> for Paged<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut reader = Reader::new(parts);
        reader.allow([names::<T>(), names::<PageParams>()].concat(), T::PREFIX);
        let (params, page) = (reader.read(), reader.read::<PageParams>());
        reader.finish(params.zip(page).map(|(params, page)| Self { params, page: page.into() }))
    }
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    match String::deserialize(deserializer)?.parse() {
        Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(Some(limit)),
        _ => Err(D::Error::custom(format!("expected a whole number from 1 to {PAGE_MAX}"))),
    }
}

/// Requires that `from` lies before `to`.
pub(crate) fn check_range(from: Option<UnixMillis>, to: Option<UnixMillis>) -> Result<(), FieldError> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(FieldError::new("from", "must lie before `to`")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use postrider_model::filters::{StatusCodes, time};

    use super::*;

    /// Parameters of every kind.
    #[derive(Debug, Default, Deserialize, IntoParams)]
    #[serde(default)]
    struct Sample {
        #[serde(deserialize_with = "parsed")]
        #[param(value_type = Option<String>)]
        status_code: Option<StatusCodes>,
        #[serde(deserialize_with = "time")]
        #[param(value_type = Option<String>)]
        from: Option<UnixMillis>,
        #[serde(deserialize_with = "time")]
        #[param(value_type = Option<String>)]
        to: Option<UnixMillis>,
        #[serde(skip)]
        #[param(ignore)]
        attributes: Vec<(String, String)>,
    }

    impl Parameters for Sample {
        const PREFIX: Option<&str> = Some("attributes.");

        fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
            self.attributes.push((name.to_owned(), value.to_owned()));
            Ok(())
        }

        fn check(&self) -> Result<(), FieldError> {
            check_range(self.from, self.to)
        }
    }

    async fn read(query: &str) -> Result<Paged<Sample>, Vec<(String, String)>> {
        let (mut parts, ()) = Request::get(format!("/?{query}")).body(()).unwrap().into_parts();
        let mistakes =
            |problem: Problem| problem.errors.into_iter().map(|error| (error.pointer, error.detail)).collect();
        Paged::from_request_parts(&mut parts, &()).await.map_err(mistakes)
    }

    #[tokio::test]
    async fn queries_are_read_strictly() {
        let Paged { params: sample, page } =
            read("limit=5&tenant=x&attributes.bridge=b&status_code=503").await.unwrap();
        assert_eq!((page.limit, sample.status_code), (5, Some(StatusCodes::Exact(503))));
        assert_eq!(sample.attributes, [("bridge".to_owned(), "b".to_owned())]);
        assert_eq!(read("").await.unwrap().page.limit, PAGE_DEFAULT);
        for bad in ["limit=0", "limit=201", "limit=x", "limit=", "limits=5", "limit=5&limit=6", "from=yesterday"] {
            assert!(read(bad).await.is_err(), "{bad}");
        }
        assert!(read("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z").await.is_err());
        let unknown = read("foo=1").await.unwrap_err();
        assert!(unknown[0].1.ends_with("allowed: status_code, from, to, limit, cursor, attributes.<name>, tenant"));
        let wrong = read("status_code=7xx&limit=0").await.unwrap_err();
        assert_eq!(wrong[0].1, "expected a status code from 100 to 599 or a class such as 5xx, got \"7xx\"");
        assert_eq!(wrong[1].0, "limit");
    }

    #[tokio::test]
    async fn the_plus_of_an_offset_may_arrive_as_a_space() {
        let from = async |text: &str| {
            let read = read(&format!("from={text}")).await.ok()?;
            read.params.from.map(UnixMillis::to_rfc3339_seconds)
        };
        for written in ["+02:00", "%2B02:00", "%2b02:00", "%2002:00"] {
            let read = from(&format!("2026-01-02T03:04:05{written}")).await;
            assert_eq!(read.as_deref(), Some("2026-01-02T01:04:05Z"), "{written}");
        }
        assert_eq!(from("2026-01-02+03:04:05-02:00").await.as_deref(), Some("2026-01-02T05:04:05Z"));
        for bad in ["2026-01-02T03:04+02:00", "2026-01-02T03:04:05++02:00", "+02:00", "20260102T030405Z"] {
            assert_eq!(from(bad).await, None, "{bad}");
        }
    }
}
