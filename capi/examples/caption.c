/* Captions photos:
 *
 *   cargo build --release -p shadetell-capi
 *   cc -Iinclude capi/examples/caption.c -o caption target/release/libshadetell_c.a -lpthread -ldl -lm
 *   ./caption photos/camera.jpg
 */

#include <shadetell.h>
#include <stdio.h>
#include <stdlib.h>

/* Prints an error. */
static int failed(const char *what, ShadetellError *error) {
    fprintf(stderr, "%s: %s\n", what, shadetell_error_message(error));
    shadetell_error_free(error);
    return 1;
}

/* All bytes of a file, or null. */
static unsigned char *contents(const char *path, size_t *length) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long end;
    if (file == NULL) {
        return NULL;
    }
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0) {
        bytes = (unsigned char *)malloc((size_t)end);
        *length = bytes == NULL ? 0 : fread(bytes, 1, (size_t)end, file);
    }
    fclose(file);
    return bytes;
}

static int caption(const ShadetellCaptioner *captioner, const char *path) {
    ShadetellError *error = NULL;
    ShadetellCaption *caption = NULL;
    ShadetellStatus status;
    size_t length = 0;
    unsigned char *bytes = contents(path, &length);
    if (bytes == NULL) {
        fprintf(stderr, "%s: it cannot be read\n", path);
        return 1;
    }
    status = shadetell_caption_photo(captioner, bytes, length, &caption, &error);
    free(bytes);
    if (status != SHADETELL_STATUS_OK) {
        return failed(path, error);
    }
    printf("%s\n", shadetell_caption_text(caption));
    shadetell_caption_free(caption);
    return 0;
}

int main(int count, char **arguments) {
    ShadetellError *error = NULL;
    ShadetellModel *model = NULL;
    ShadetellDevice *device = NULL;
    ShadetellCaptioner *captioner = NULL;
    int failures = 0;
    int i;
    if (shadetell_model_bundled(&model, &error) != SHADETELL_STATUS_OK) {
        return failed("model", error);
    }
    if (shadetell_device_open(NULL, &device, &error) != SHADETELL_STATUS_OK) {
        shadetell_model_free(model);
        return failed("device", error);
    }
    if (shadetell_captioner_new(model, device, NULL, &captioner, &error) != SHADETELL_STATUS_OK) {
        failures = failed("captioner", error);
    }
    /* The captioner keeps what it needs of them. */
    shadetell_device_free(device);
    shadetell_model_free(model);
    for (i = 1; captioner != NULL && i < count; i++) {
        failures += caption(captioner, arguments[i]);
    }
    shadetell_captioner_free(captioner);
    return failures > 0;
}
