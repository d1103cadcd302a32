//! Lost devices, captioners that share a device, and device limits.

use super::*;

/// Whether a result is the error of a lost device.
fn is_lost<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Gpu(GpuError::DeviceLost(_))))
}

#[test]
fn a_lost_device_is_an_error_at_the_next_call() {
    let photo = photo("camera.jpg");
    for budget in [Budget::Whole, Budget::dispatches(1), Budget::dispatches(100_000), Budget::micros(500)] {
        let gpu = Gpu::open(&AdapterChoice::default()).unwrap();
        let heard = heard(&gpu.device);
        let host = Host { captioner: captioner(&gpu, DecoderFamily::ShowTell), gpu };
        // Each one has its own memory.
        let other = Host { captioner: captioner(&host.gpu, DecoderFamily::ShowTell), gpu: host.gpu.clone() };
        let [mut polled, mut recorded] =
            [&host, &other].map(|host| host.ticket(Input::Photo(&photo), budget));
        host.gpu.device.destroy();
        let may_be_done = polled.is_recorded();
        match polled.poll().expect("the result is available at once") {
            // The caption was finished before the device was lost.
            Ok(caption) => assert!(may_be_done && !caption.text.is_empty(), "{budget:?}"),
            lost => assert!(is_lost(&lost), "{lost:?}"),
        }
        assert!(polled.poll().is_none(), "the result is returned once");
        if !recorded.is_recorded() {
            let mut encoder = host.encoder();
            let result = recorded.record(&mut encoder);
            assert!(is_lost(&result), "{budget:?}: {result:?}");
            assert!(
                recorded.record(&mut encoder).is_err() && recorded.poll().is_none(),
                "the ticket has failed"
            );
            // Submit, as a host does after drawing a frame.
            host.submit(encoder);
        }
        // New calls are errors too.
        assert!(is_lost(&host.captioner.caption(&photo)));
        let options = CaptionOptions::default();
        assert!(is_lost(&Captioner::new(model(DecoderFamily::ShowTell), Backend::Gpu(&host.gpu), &options)));
        assert_eq!(*heard.lock().unwrap(), [""; 0], "the host's error handler is not called");
    }
    // The model is still usable on another device.
    let again = Host::new(DecoderFamily::ShowTell);
    assert!(!again.captioner.caption(&photo).unwrap().text.is_empty());
}

#[test]
fn threads_that_share_a_captioner_get_their_own_captions() {
    let host = Host::new(DecoderFamily::ShowTell);
    let photos = ["camera.jpg", "astronaut.jpg"].map(photo);
    let expected = [0, 1].map(|index| host.captioner.caption(&photos[index]).unwrap());
    assert_ne!(expected[0].text, expected[1].text);
    std::thread::scope(|scope| {
        for (photo, expected) in photos.iter().zip(&expected) {
            let captioner = &host.captioner;
            scope.spawn(move || (0..8).for_each(|_| same(&captioner.caption(photo).unwrap(), expected)));
        }
    });
}

#[test]
fn a_captioner_is_prepared_in_the_background() {
    let gpu = shared().gpu.clone();
    let mut prewarm = Captioner::prewarm(
        Arc::new(Model::from_static("flickr8k", shadetell_flickr8k::MODEL).unwrap()),
        gpu,
        CaptionOptions::default(),
    )
    .unwrap();
    let mut least = 0.0;
    let captioner = loop {
        let now = prewarm.progress();
        assert!((0.0..=1.0).contains(&now), "{now}");
        least = f32::min(least, now);
        match prewarm.poll() {
            Some(captioner) => break captioner.unwrap(),
            None => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    assert_eq!((least, prewarm.progress()), (0.0, 1.0));
    assert!(prewarm.poll().is_none() && prewarm.wait().is_err(), "the captioner is returned once");
    assert!(!captioner.caption(&photo("camera.jpg")).unwrap().text.is_empty());
}

#[test]
fn captioners_on_one_device_share_the_weights_of_a_model() {
    let gpu = Host::new(DecoderFamily::ShowTell).gpu;
    let first = captioner(&gpu, DecoderFamily::ShowTell);
    let memory = first.memory().unwrap();
    assert_eq!(memory.shared_weights, 0, "{memory:?}");
    let (same_kind, other_kind) =
        (captioner(&gpu.clone(), DecoderFamily::ShowTell), captioner(&gpu, DecoderFamily::ShowAttendTell));
    let photo = photo("camera.jpg");
    let expected = first.caption(&photo).unwrap();
    // Shared weights stay when the captioner that uploaded them is dropped.
    drop(first);
    let again = same_kind.memory().unwrap();
    assert_eq!((again.weights, again.activations), (memory.weights, memory.activations));
    assert!(again.shared_weights as f64 > 0.95 * memory.weights as f64, "{again:?}");
    same(&same_kind.caption(&photo).unwrap(), &expected);
    let other = other_kind.memory().unwrap();
    assert!(other.shared_weights > 2_000_000 && other.shared_weights < other.weights, "{other:?}");
    assert!(!other_kind.caption(&photo).unwrap().text.is_empty());
    // Also through a captioner that shares them itself.
    let third = captioner(&gpu, DecoderFamily::ShowTell);
    assert!(third.memory().unwrap().shared_weights >= again.shared_weights);
    same(&third.caption(&photo).unwrap(), &expected);
    // When no captioner uses them, they are freed.
    drop((same_kind, other_kind, third));
    assert_eq!(captioner(&gpu, DecoderFamily::ShowTell).memory(), Some(memory));
}

#[test]
fn a_pipeline_cache_does_not_change_captions() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let cached = adapter.features() & wgpu::Features::PIPELINE_CACHE;
    if cached.is_empty() {
        // Only Vulkan has such caches, in all of its drivers.
        assert_ne!(adapter.get_info().backend, wgpu::Backend::Vulkan);
        return;
    }
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: cached | Gpu::helpful_features(&adapter),
        ..Default::default()
    }))
    .unwrap();
    let gpu = Gpu::from_host(&device, &queue);
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data: None, fallback: true };
    // SAFETY: no cache data is passed in.
    let cache = unsafe { gpu.device.create_pipeline_cache(&descriptor) };
    let photo = photo("camera.jpg");
    let expected = captioner(&gpu, DecoderFamily::ShowTell).caption(&photo).unwrap();
    let before = cache.get_data().map_or(0, |data| data.len());
    // Another handle, so that kernels are compiled again.
    let mut gpu = Gpu::from_host(&device, &queue);
    gpu.pipeline_cache = Some(cache.clone());
    same(&captioner(&gpu, DecoderFamily::ShowTell).caption(&photo).unwrap(), &expected);
    // Drivers on the CPU may store compiled kernels elsewhere.
    let after = cache.get_data().map_or(0, |data| data.len());
    assert!(before > 0 && after >= before, "{before} bytes before, {after} after");
    assert!(after > before || gpu.info.device_type == wgpu::DeviceType::Cpu, "{after} bytes");
}

#[test]
fn the_bundled_model_needs_only_the_default_limits() {
    let usual = TuningTable::default();
    let limits =
        required_limits(model(DecoderFamily::SemanticAttention), &CaptionOptions::default(), &usual).unwrap();
    assert_eq!(limits, wgpu::Limits::default());
    let large = CaptionOptions { batch: Some(64), ..CaptionOptions::default() };
    let limits = required_limits(model(DecoderFamily::SemanticAttention), &large, &usual).unwrap();
    assert!(
        limits.max_storage_buffer_binding_size >= wgpu::Limits::default().max_storage_buffer_binding_size
    );
    assert!(limits.max_buffer_size > wgpu::Limits::default().max_buffer_size, "{limits:?}");
}
