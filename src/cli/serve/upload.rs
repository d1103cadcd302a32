//! Photos out of request bodies, kept in memory alone.

use super::models::{Search, shown};
use super::problem::Problem;
use super::queue::{Job, Update};
use super::service::{Limits, PIECE, Service};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyDataStream, BodyExt, Full};
use shadetell::image::{DecodeOptions, decode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A photo as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Photo {
    /// The file's name; `-` has none.
    pub(super) name: String,
    bytes: Bytes,
    /// The body's part of all memory for bodies, which goes with its last photo.
    _memory: Arc<OwnedSemaphorePermit>,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) photos: Vec<Photo>,
    /// The other fields of a form.
    pub(super) fields: Vec<(String, String)>,
    /// Whether it was a form.
    pub(super) is_form: bool,
}

/// The longest field of a form that is no photo, in bytes.
const MAX_FIELD: usize = 1024;
/// Most of them.
const MAX_FIELDS: usize = 64;
/// The longest name that is kept, in characters.
const MAX_NAME: usize = 255;

impl Upload {
    /// Reads a body: a photo, or a form with photos and fields.
    pub(super) async fn read(service: &Service, headers: &HeaderMap, body: Body) -> Result<Upload, Problem> {
        let media_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
        let essence = media_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_lowercase());
        let is_form = essence.as_deref() == Some("multipart/form-data");
        let is_photo = match essence.as_deref() {
            // The last is what `curl --data-binary` says if it is not told otherwise.
            None | Some("application/octet-stream" | "application/x-www-form-urlencoded") => true,
            Some(other) => other.starts_with("image/"),
        };
        if !is_form && !is_photo {
            let detail = format!(
                "expected a photo as image/jpeg, image/png or another image type, or a form as multipart/form-data, found {}",
                shown(media_type.unwrap_or_default())
            );
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
        }
        let (bytes, memory) = read_body(service, headers, body).await?;
        let mut upload = Upload { photos: Vec::new(), fields: Vec::new(), is_form };
        if is_form {
            upload.read_form(media_type.unwrap_or_default(), bytes, memory, service.limits.queue).await?;
        } else {
            upload.photos.push(Photo { name: "-".to_owned(), bytes, _memory: memory });
        }
        Ok(upload)
    }

    async fn read_form(
        &mut self,
        media_type: &str,
        bytes: Bytes,
        memory: Arc<OwnedSemaphorePermit>,
        most: usize,
    ) -> Result<(), Problem> {
        let wrong = |error: multer::Error| {
            Problem::bad_request(format!(
                "expected a form (multipart/form-data), found what is none: {error}; as with `curl -F image=@dog.jpg`"
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
                    let detail = format!("expected at most {most} photos in a request; send them in several");
                    return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_photos", detail));
                }
                let name = file_name.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
                self.photos.push(Photo { name, bytes: content, _memory: Arc::clone(&memory) });
                continue;
            }
            let text = std::str::from_utf8(&content).ok().filter(|text| text.len() <= MAX_FIELD);
            let Some(text) = text.filter(|_| self.fields.len() < MAX_FIELDS) else {
                return Err(Problem::bad_request(format!(
                    "{}: expected at most {MAX_FIELDS} fields of at most {MAX_FIELD} bytes of text",
                    shown(&name)
                )));
            };
            // A field that was left empty says nothing.
            if !text.is_empty() {
                self.fields.push((name, text.to_owned()));
            }
        }
        if self.photos.is_empty() {
            return Err(Problem::bad_request(
                "expected at least one photo in the form, found none; as with `curl -F image=@dog.jpg`",
            ));
        }
        Ok(())
    }
}

async fn read_body(
    service: &Service,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Arc<OwnedSemaphorePermit>), Problem> {
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
    if service.places.available_permits() == 0 {
        return Err(service.queue_full());
    }
    let take = |pieces: usize| {
        Arc::clone(&service.memory).try_acquire_many_owned(pieces as u32).map_err(|_| {
            let detail = "too many photos are being sent at a time; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1)
        })
    };
    let read = async {
        let mut body = body;
        let mut memory = take(0)?;
        let mut bytes = Vec::new();
        // Room that nothing was written to takes no memory yet, which is counted as bytes come. Without it the bytes move as they grow.
        let _ = bytes.try_reserve_exact(declared as usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Problem::bad_request(format!("expected the whole body, found that it breaks off: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                return Err(too_large("more".to_owned()));
            }
            let pieces = (bytes.len() + data.len()).div_ceil(PIECE);
            memory.merge(take(pieces.saturating_sub(memory.num_permits()))?);
            bytes.extend_from_slice(&data);
        }
        Ok((Bytes::from(bytes), Arc::new(memory)))
    };
    let limit = service.limits.timeout;
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
        let detail =
            format!("expected the whole body within {} s, found that it takes longer", limit.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
    })
}

/// A photo that waits for its caption.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Width and height.
    pub(super) size: [u32; 2],
    pub(super) decode: Duration,
    pub(super) preprocess: Duration,
    pub(super) updates: UnboundedReceiver<Update>,
}

impl Service {
    /// Places for photos, or the advice to come back later.
    pub(super) fn places(&self, photos: usize) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_many_owned(photos as u32).map_err(|_| self.queue_full())
    }

    fn queue_full(&self) -> Problem {
        let waiting = self.accepted();
        let detail =
            format!("{waiting} photos wait already, of at most {}; try again later", self.limits.queue);
        let seconds = waiting as f64 * self.metrics.seconds_a_photo();
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", detail)
            .retry_after((seconds.ceil() as u64).min(60))
    }

    /// Decodes a photo, resizes it, and lets it wait for its caption.
    pub(super) async fn submit(
        self: &Arc<Self>,
        photo: Photo,
        place: OwnedSemaphorePermit,
        search: Search,
        follow: bool,
    ) -> Result<Waiting, Problem> {
        let decoder = Arc::clone(&self.decoders).acquire_owned().await.map_err(|_| Problem::internal())?;
        let service = Arc::clone(self);
        let prepare = move || {
            let clock = Instant::now();
            let Limits { max_pixels, max_body, .. } = service.limits;
            let options =
                DecodeOptions { max_pixels, max_bytes: max_body as u64, ..DecodeOptions::default() };
            let image = decode(&photo.bytes, &options)?;
            let decode = clock.elapsed();
            let input = service.models.get(search.model).manifest().preprocess.fit(&image)?;
            // Held until here, even if nobody waits for the photo any more.
            drop(decoder);
            let preprocess = clock.elapsed() - decode;
            service.metrics.stage("decode", decode);
            service.metrics.stage("preprocess", preprocess);
            Ok::<_, Problem>((input, [image.width(), image.height()], decode, preprocess))
        };
        let (input, size, decode, preprocess) =
            tokio::task::spawn_blocking(prepare).await.map_err(|_| Problem::internal())??;
        let (reply, updates) = unbounded_channel();
        self.queue.push(Job {
            input,
            search,
            follow,
            reply,
            _place: Some(place),
            arrived: Instant::now(),
        })?;
        Ok(Waiting { size, decode, preprocess, updates })
    }
}
