//! Many requests at a time.

use super::*;

#[test]
fn answers_under_load_equal_those_of_the_command_line() {
    let server = Server::start(&[]);
    let names = ["camera.jpg", "astronaut.jpg"];
    let photos = names.map(photo);
    let expected = names.map(|name| comparable(command_line(name, &["--beam", "1"])));
    thread::scope(|scope| {
        for connection in 0..8 {
            let (server, photos, expected) = (&server, &photos, &expected);
            scope.spawn(move || {
                for request in 0..8 {
                    let index = (connection + request) % 2;
                    let answer = server.post("/v1/caption?beam=1", "image/jpeg", &photos[index]);
                    assert_eq!(comparable(answer.record()), expected[index]);
                }
            });
        }
    });
    assert_eq!(server.metric("shadetell_photos_total"), 64.0);
    assert!(server.metric("shadetell_batch_photos_count") < 64.0, "some were captioned together");
}

#[test]
fn excess_photos_are_refused_and_accepted_ones_are_captioned() {
    let server = Server::start(&["--queue", "4", "--max-batch", "1"]);
    let camera = photo("camera.jpg");
    let statuses: Vec<(u16, String)> = thread::scope(|scope| {
        let ask = || {
            let answer = server.post("/v1/caption?beam=32", "image/jpeg", &camera);
            (answer.status, answer.header("retry-after").to_owned())
        };
        let threads: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<_> = statuses.iter().filter(|(status, ..)| *status == 429).collect();
    let done = statuses.iter().filter(|(status, ..)| *status == 200).count();
    assert_eq!(refused.len() + done, 40, "{statuses:?}");
    assert!(done >= 4 && refused.len() >= 10, "{statuses:?}");
    assert!(refused.iter().all(|(.., retry)| retry.parse::<u64>().is_ok_and(|seconds| seconds >= 1)));
    server.post("/v1/caption", "image/jpeg", &camera).record();

    let photos: Vec<_> = (0..5).map(|_| ("image", Some("a.jpg"), &camera[..])).collect();
    server.post_form("/v1/caption", &photos).problem(413, "too_many_photos");
}
