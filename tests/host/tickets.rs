//! Tickets: slices, words as they are found, waiting.

use super::*;

#[test]
fn slices_of_two_captioners_give_the_same_captions_as_whole_runs() {
    let hosts = [DecoderFamily::SemanticAttention, DecoderFamily::ShowTell].map(Host::new);
    let photo = photo("astronaut.jpg");
    let expected = [0, 1].map(|i| hosts[i].captioner.caption(&photo).unwrap());
    for budget in [Budget::dispatches(7), Budget::micros(20_000)] {
        let mut tickets = [0, 1].map(|i| hosts[i].ticket(Input::Photo(&photo), budget));
        let mut captions = [None, None];
        let mut frames = 0;
        while captions.iter().any(Option::is_none) {
            for ((host, ticket), caption) in hosts.iter().zip(&mut tickets).zip(&mut captions) {
                let mut encoder = host.encoder();
                ticket.record(&mut encoder).unwrap();
                host.submit(encoder);
                if let Some(found) = ticket.poll() {
                    *caption = Some(found.unwrap());
                }
            }
            frames += 1;
            assert!(frames < 100_000, "{budget:?} never ends");
        }
        assert!(frames > 3, "{budget:?} was cut into slices: {frames} frames");
        for (found, expected) in captions.iter().zip(&expected) {
            same(found.as_ref().unwrap(), expected);
        }
        assert!(tickets.iter_mut().all(|ticket| ticket.poll().is_none()), "a caption is returned once");
    }
}

#[test]
fn one_caption_is_recorded_at_a_time_and_dropping_its_ticket_unlocks_the_captioner() {
    let host = Host::new(DecoderFamily::ShowTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let ticket = host.ticket(Input::Photo(&photo), Budget::dispatches(3));
    assert!(!ticket.is_recorded());
    let mut encoder = host.encoder();
    let busy = host.captioner.encode(&mut encoder, Input::Photo(&photo), Budget::Whole).unwrap_err();
    assert!(busy.to_string().contains("recorded to its end"), "{busy}");
    assert_eq!(busy.cause(), Cause::Busy);
    assert_eq!(host.captioner.caption(&photo).unwrap_err().cause(), Cause::Busy);
    assert!(ticket.wait().unwrap_err().to_string().contains("is_recorded"));
    // The ticket was dropped, so the captioner is free. Several captions that are recorded whole may follow each other.
    let tickets = [(); 3].map(|()| host.ticket(Input::Photo(&photo), Budget::Whole));
    for ticket in tickets {
        same(&ticket.wait().unwrap(), &expected);
    }
}

#[test]
fn words_can_be_followed_as_they_are_found() {
    let host = Host::new(DecoderFamily::ShowAttendTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let mut ticket = host.ticket(Input::Photo(&photo), Budget::dispatches(1));
    ticket.follow();
    let mut seen: Vec<String> = Vec::new();
    let caption = loop {
        let mut encoder = host.encoder();
        ticket.record(&mut encoder).unwrap();
        host.submit(encoder);
        let caption = ticket.poll();
        if let Some(words) = ticket.so_far() {
            assert!(expected.text.starts_with(&words.text), "{:?} of {:?}", words.text, expected.text);
            let same_words = words.tokens.iter().zip(&expected.tokens);
            assert!(same_words.clone().all(|(a, b)| (a.id, a.log_prob) == (b.id, b.log_prob)));
            assert!(same_words.clone().all(|(a, b)| a.attention == b.attention));
            if seen.last() != Some(&words.text) {
                seen.push(words.text.clone());
            }
        }
        if let Some(caption) = caption {
            break caption.unwrap();
        }
    };
    same(&caption, &expected);
    assert!(seen.len() >= expected.tokens.len() / 2, "{seen:?}");
    let mut alone = host.ticket(Input::Photo(&photo), Budget::Whole);
    while alone.poll().is_none() {}
    assert!(alone.so_far().is_none(), "the ticket is not followed");
}

#[test]
fn a_ticket_can_be_awaited() {
    struct Idle;
    impl Wake for Idle {
        fn wake(self: Arc<Self>) {}
    }
    let host = Host::new(DecoderFamily::ShowTell);
    let photo = photo("camera.jpg");
    let expected = host.captioner.caption(&photo).unwrap();
    let mut ticket = std::pin::pin!(host.ticket(Input::Photo(&photo), Budget::Whole));
    let waker = Waker::from(Arc::new(Idle));
    let caption = loop {
        match ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(caption) => break caption.unwrap(),
            // The work of a host's frame.
            Poll::Pending => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    same(&caption, &expected);
}

#[test]
fn waiting_without_recording_or_submitting_is_an_error() {
    let host = Host::new(DecoderFamily::ShowTell);
    let photo = photo("camera.jpg");
    let mut unrecorded = host.ticket(Input::Photo(&photo), Budget::micros(1000));
    let Poll::Ready(Err(error)) =
        std::pin::Pin::new(&mut unrecorded).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it would never be woken");
    };
    assert!(error.to_string().contains("is_recorded"), "{error}");
    let other = Host { captioner: captioner(&host.gpu, DecoderFamily::ShowTell), gpu: host.gpu.clone() };
    let mut encoder = other.encoder();
    let unsubmitted = other.captioner.encode(&mut encoder, Input::Photo(&photo), Budget::Whole).unwrap();
    let error = unsubmitted.wait().unwrap_err();
    assert!(
        matches!(&error, Error::Gpu(GpuError::InvalidInput(why)) if why.contains("submitted")),
        "{error}"
    );
}
