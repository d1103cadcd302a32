//! Photos and fields from the bodies of requests. Nothing is written to disk.

use crate::budget::Memory;
use crate::models::truncated;
use crate::photo::Photo;
use crate::problem::Problem;
use crate::service::Service;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyDataStream, BodyExt, Full};
use std::sync::Arc;

mod base64_json;

/// The body of a request.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) photos: Vec<Photo>,
    /// The fields of a form that are not photos.
    pub(crate) fields: Vec<(String, String)>,
    /// Whether it may contain several photos: a form, or JSON with a list.
    pub(crate) is_form: bool,
}

/// The longest field of a form that is not a photo, in bytes.
const MAX_FIELD: usize = 1024;
/// Most fields of a form that are not photos.
const MAX_FIELDS: usize = 64;
/// The longest name of a photo, in characters; longer names are cut.
const MAX_NAME: usize = 255;

impl Upload {
    /// Reads a body: a form with photos and fields, JSON with photos in base64, or a photo. Unless the media type is that of a form,
    /// the content tells: clients send photos with many types, or without one.
    pub(crate) async fn read(service: &Service, headers: &HeaderMap, body: Body) -> Result<Upload, Problem> {
        let media_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let essence =
            media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_lowercase();
        let is_form = essence == "multipart/form-data";
        if !is_form && essence.starts_with("multipart/") {
            let detail = format!(
                "expected a form as multipart/form-data, a photo, or JSON, found {}",
                truncated(media_type.unwrap_or_default())
            );
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let (bytes, mut memory) = read_body(service, headers, body).await?;
        let mut upload = Upload { photos: Vec::new(), fields: Vec::new(), is_form };
        let most = service.limits.queue;
        if is_form {
            upload.read_form(media_type.unwrap_or_default(), bytes, Arc::new(memory), most).await?;
        } else if essence.ends_with("json") || base64_json::is_object(&bytes) {
            // The text and the photos in it are in memory at once.
            if !memory.grow(base64_json::memory(bytes.len())) {
                return Err(busy());
            }
            upload.read_json(&bytes, Arc::new(memory), most)?;
        } else {
            upload.photos.push(Photo { name: "-".to_owned(), bytes, _memory: Arc::new(memory) });
        }
        Ok(upload)
    }

    async fn read_form(
        &mut self,
        media_type: &str,
        bytes: Bytes,
        memory: Arc<Memory>,
        most: usize,
    ) -> Result<(), Problem> {
        let wrong = |error: multer::Error| {
            Problem::bad_request(format!(
                "expected a form (multipart/form-data), found an invalid one: {error}; see `curl -F image=@dog.jpg` for an example"
            ))
        };
        let boundary = multer::parse_boundary(media_type).map_err(wrong)?;
        let mut form = multer::Multipart::new(BodyDataStream::new(Full::new(bytes)), boundary);
        while let Some(field) = form.next_field().await.map_err(wrong)? {
            let name = field.name().unwrap_or_default().to_owned();
            let file_name = field.file_name().map(|name| name.chars().take(MAX_NAME).collect::<String>());
            let media_type = field.content_type().map(|mime| mime.essence_str().to_owned());
            let content = field.bytes().await.map_err(wrong)?;
            let is_photo = file_name.is_some()
                || ["image", "images", "file", "photo"].contains(&name.as_str())
                || media_type.as_deref().is_some_and(|media_type| media_type.starts_with("image/"));
            if is_photo {
                if self.photos.len() == most {
                    return Err(too_many(most));
                }
                let name = file_name.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
                self.photos.push(Photo { name, bytes: content, _memory: Arc::clone(&memory) });
                continue;
            }
            let text = std::str::from_utf8(&content).ok().filter(|text| text.len() <= MAX_FIELD);
            let Some(text) = text else { return Err(no_file(&name, content.len())) };
            if self.fields.len() == MAX_FIELDS {
                let detail = format!("expected at most {MAX_FIELDS} fields that are not photos, found more");
                return Err(Problem::bad_request(detail));
            }
            // An empty field counts as absent.
            if !text.is_empty() {
                self.fields.push((name, text.to_owned()));
            }
        }
        if self.photos.is_empty() {
            return Err(Problem::bad_request(
                "expected at least one photo in the form, found none; see `curl -F image=@dog.jpg` for an example",
            ));
        }
        Ok(())
    }
}

/// The problem with a part of a form that is not marked as a photo, and is no parameter either.
fn no_file(name: &str, length: usize) -> Problem {
    let part = if name.is_empty() { "a part without a name".to_owned() } else { truncated(name) };
    Problem::bad_request(format!(
        "{part}: expected text of at most {MAX_FIELD} bytes, found {length} bytes and neither a file name nor a type; a photo needs \
         the name `image`, a file name or an image type, as `curl -F image=@dog.jpg` sends them"
    ))
}

fn too_many(most: usize) -> Problem {
    let detail = format!("expected at most {most} photos in a request; send them in several");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_photos", detail)
}

fn busy() -> Problem {
    let detail = "too many photos are being sent at a time; try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
}

async fn read_body(service: &Service, headers: &HeaderMap, body: Body) -> Result<(Bytes, Memory), Problem> {
    let most = service.limits.max_body;
    let too_large = |found: String| {
        let detail = format!(
            "expected a body of at most {most} bytes, found {found}; send a smaller photo, or fewer at a time"
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let declared: u64 = declared.unwrap_or(0);
    if declared > most as u64 {
        return Err(too_large(declared.to_string()));
    }
    service.check_places()?;
    let read = async {
        let mut body = body;
        let mut memory = service.bodies.try_take(0).ok_or_else(busy)?;
        let mut bytes = Vec::new();
        // Reserving capacity avoids copies as the bytes grow. Unwritten pages take no memory, so bytes are counted when they arrive.
        let _ = bytes.try_reserve_exact(declared as usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Problem::bad_request(format!("expected the whole body, found that it ends early: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large("more".to_owned()));
            }
            if !memory.grow((bytes.len() + data.len()) as u64) {
                return Err(busy());
            }
            bytes.extend_from_slice(&data);
        }
        Ok((Bytes::from(bytes), memory))
    };
    let limit = service.limits.timeout;
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
        let detail =
            format!("expected the whole body within {} s, found that it takes longer", limit.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
    })
}
