/* Tests every function with valid and with invalid arguments. */

#include <math.h>
#include <shadetell.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

static ShadetellError *error;

/* Checks that a call failed with this status and this text in its message. */
static void failed(ShadetellStatus found, ShadetellStatus expected, const char *part) {
    if (found != expected || strstr(shadetell_error_message(error), part) == NULL) {
        fprintf(stderr, "expected %d with \"%s\", found %d: %s\n", expected, part, found,
                shadetell_error_message(error));
        exit(1);
    }
    shadetell_error_free(error);
    error = NULL;
}

static void succeeded(ShadetellStatus found) {
    if (found != SHADETELL_STATUS_OK) {
        fprintf(stderr, "%d: %s\n", found, shadetell_error_message(error));
        exit(1);
    }
}

/* A ball in front of a sky, in one of the formats, with padding between rows. */
static unsigned char *drawn(const ShadetellPicture *picture) {
    size_t size = picture->format == SHADETELL_PIXEL_FORMAT_RGB8 ? 3 : 4;
    size_t stride = picture->bytes_per_row == 0 ? size * picture->width : picture->bytes_per_row;
    unsigned char *pixels = calloc(stride, picture->height);
    uint32_t x, y;
    CHECK(pixels != NULL);
    for (y = 0; y < picture->height; y++) {
        for (x = 0; x < picture->width; x++) {
            int dx = (int)x - 120, dy = (int)y - 90;
            int ball = dx * dx + dy * dy < 2500;
            unsigned char colour[3];
            unsigned char *pixel = pixels + y * stride + x * size;
            colour[0] = ball ? 220 : 90;
            colour[1] = ball ? 60 : (unsigned char)(120 + y / 4);
            colour[2] = ball ? 40 : 240;
            if (picture->format == SHADETELL_PIXEL_FORMAT_BGRA8) {
                pixel[0] = colour[2], pixel[1] = colour[1], pixel[2] = colour[0];
            } else {
                memcpy(pixel, colour, 3);
            }
        }
    }
    return pixels;
}

int main(void) {
    ShadetellModel *model = NULL;
    ShadetellDevice *device = NULL;
    ShadetellCaptioner *captioner = NULL;
    ShadetellCaption *caption = NULL;
    ShadetellEncoder *encoder = NULL;
    ShadetellFeatures *features = NULL;
    ShadetellOptions options = {SHADETELL_DECODER_SEMANTIC_ATTENTION, 1, 8};
    ShadetellPicture picture = {NULL, 240, 180, 0, SHADETELL_PIXEL_FORMAT_RGB8};
    const unsigned char nothing[4] = {1, 2, 3, 4};
    char sentence[512] = "";
    size_t rows = 0, columns = 0, channels = 0, i;
    uint32_t format;
    float sum = 0.0f, log_prob;
    const float *attention;

    printf("%s\n", shadetell_version());

    /* Models. */
    failed(shadetell_model_open(NULL, &model, &error), SHADETELL_STATUS_INVALID_ARGUMENT, "`path`");
    failed(shadetell_model_open("no such model", &model, &error), SHADETELL_STATUS_MODEL, "no such model");
    failed(shadetell_model_open("\xff", &model, &error), SHADETELL_STATUS_INVALID_ARGUMENT, "UTF-8");
    failed(shadetell_model_from_bytes(NULL, 4, &model, &error), SHADETELL_STATUS_INVALID_ARGUMENT, "`data`");
    failed(shadetell_model_from_bytes(nothing, 4, &model, &error), SHADETELL_STATUS_MODEL, "memory");
    failed(shadetell_model_bundled(NULL, &error), SHADETELL_STATUS_INVALID_ARGUMENT, "`model`");
    CHECK(shadetell_model_open("no such model", &model, NULL) == SHADETELL_STATUS_MODEL);
    CHECK(model == NULL);
    error = (ShadetellError *)&model;
    succeeded(shadetell_model_bundled(&model, &error));
    CHECK(error == NULL);

    /* Devices. */
    failed(shadetell_device_open("no such adapter", &device, &error), SHADETELL_STATUS_DEVICE, "no such adapter");
    succeeded(shadetell_device_open(NULL, &device, &error));

    /* Captioners. */
    failed(shadetell_captioner_new(NULL, device, &options, &captioner, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
           "`model`");
    options.decoder = 7;
    failed(shadetell_captioner_new(model, device, &options, &captioner, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
           "found 7");
    options.decoder = SHADETELL_DECODER_SEMANTIC_ATTENTION;
    succeeded(shadetell_captioner_new(model, device, &options, &captioner, &error));

    /* Encoders. */
    failed(shadetell_encoder_new(NULL, device, &encoder, &error), SHADETELL_STATUS_INVALID_ARGUMENT, "`model`");
    failed(shadetell_encoder_new(model, device, NULL, &error), SHADETELL_STATUS_INVALID_ARGUMENT, "`encoder`");
    succeeded(shadetell_encoder_new(model, device, &encoder, &error));
    shadetell_model_free(model);
    shadetell_device_free(device);

    /* Captions do not depend on the pixel format or the padding of rows. */
    failed(shadetell_caption_picture(captioner, NULL, &caption, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
           "`picture`");
    failed(shadetell_caption_picture(captioner, &picture, &caption, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
           "`pixels`");
    picture.bytes_per_row = 100;
    failed(shadetell_caption_picture(captioner, &picture, &caption, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
           "720 bytes");
    for (format = SHADETELL_PIXEL_FORMAT_RGB8; format <= SHADETELL_PIXEL_FORMAT_BGRA8; format++) {
        unsigned char *pixels;
        picture.format = format;
        picture.bytes_per_row = format == SHADETELL_PIXEL_FORMAT_RGBA8 ? 1000 : 0;
        pixels = drawn(&picture);
        picture.pixels = pixels;
        caption = NULL;
        succeeded(shadetell_caption_picture(captioner, &picture, &caption, &error));
        free(pixels);
        if (format == SHADETELL_PIXEL_FORMAT_RGB8) {
            strncat(sentence, shadetell_caption_text(caption), sizeof sentence - 1);
            CHECK(strlen(sentence) > 0);
        }
        CHECK(strcmp(sentence, shadetell_caption_text(caption)) == 0);
        if (format != SHADETELL_PIXEL_FORMAT_BGRA8) {
            shadetell_caption_free(caption);
        }
    }
    picture.format = 3;
    failed(shadetell_caption_picture(captioner, &picture, &caption, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
           "found 3");
    failed(shadetell_caption_photo(captioner, nothing, 4, &caption, &error), SHADETELL_STATUS_IMAGE, "");
    CHECK(shadetell_caption_photo(captioner, nothing, 4, NULL, NULL) != SHADETELL_STATUS_OK);

    /* Words: together they are the sentence, with probabilities and attention. */
    CHECK(shadetell_caption_word_count(caption) > 0 && shadetell_caption_word_count(caption) <= 8);
    CHECK(strncmp(sentence, shadetell_caption_word(caption, 0), strlen(shadetell_caption_word(caption, 0))) == 0);
    log_prob = 0.0f;
    for (i = 0; i < shadetell_caption_word_count(caption); i++) {
        CHECK(shadetell_caption_word_log_prob(caption, i) <= 0.0f);
        log_prob += shadetell_caption_word_log_prob(caption, i);
    }
    CHECK(shadetell_caption_log_prob(caption) <= log_prob + 1e-4f);
    CHECK(shadetell_caption_confidence(caption) >= 0.0f && shadetell_caption_confidence(caption) <= 1.0f);
    CHECK(shadetell_caption_word(caption, i) == NULL);
    CHECK(shadetell_caption_attention(caption, i, NULL, NULL) == NULL);
    attention = shadetell_caption_attention(caption, 0, &rows, &columns);
    CHECK(attention != NULL && rows > 1 && columns > 1);
    for (i = 0; i < rows * columns; i++) {
        sum += attention[i];
    }
    CHECK(fabsf(sum - 1.0f) < 1e-3f);

    /* Features: the embedding is the mean of the grid; the probabilities of all classes sum to 1. */
    picture.format = SHADETELL_PIXEL_FORMAT_RGB8;
    {
        unsigned char *pixels = drawn(&picture);
        const float *embedding, *grid;
        float mean = 0.0f, before = 1.0f, all = 0.0f;
        picture.pixels = pixels;
        failed(shadetell_encode_picture(NULL, &picture, &features, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
               "`encoder`");
        failed(shadetell_encode_picture(encoder, &picture, NULL, &error), SHADETELL_STATUS_INVALID_ARGUMENT,
               "`features`");
        failed(shadetell_encode_photo(encoder, nothing, 4, &features, &error), SHADETELL_STATUS_IMAGE, "");
        succeeded(shadetell_encode_picture(encoder, &picture, &features, &error));
        free(pixels);
        embedding = shadetell_features_embedding(features, &channels);
        CHECK(embedding != NULL && channels == 1280);
        grid = shadetell_features_grid(features, &rows, &columns, &channels);
        CHECK(grid != NULL && rows > 1 && columns > 1 && channels == 1280);
        CHECK(shadetell_features_embedding(features, NULL) == embedding);
        CHECK(shadetell_features_grid(features, NULL, NULL, NULL) == grid);
        for (i = 0; i < rows * columns; i++) {
            mean += grid[i * channels] / (float)(rows * columns);
        }
        CHECK(fabsf(mean - embedding[0]) < 1e-4f);
        CHECK(shadetell_features_class_count(features) == 1000);
        for (i = 0; i < 1000; i++) {
            float probability = shadetell_features_class_probability(features, i);
            CHECK(probability <= before && shadetell_features_class_index(features, i) < 1000);
            CHECK(strlen(shadetell_features_class_name(features, i)) > 0);
            before = probability;
            all += probability;
        }
        CHECK(fabsf(all - 1.0f) < 1e-3f);
        CHECK(shadetell_features_class_name(features, 1000) == NULL);
    }
    shadetell_features_free(features);
    shadetell_encoder_free(encoder);

    /* Null may be freed, and reads as empty. */
    shadetell_caption_free(caption);
    shadetell_captioner_free(captioner);
    shadetell_caption_free(NULL);
    shadetell_captioner_free(NULL);
    shadetell_features_free(NULL);
    shadetell_encoder_free(NULL);
    CHECK(shadetell_features_embedding(NULL, &channels) == NULL && channels == 0);
    CHECK(shadetell_features_class_count(NULL) == 0 && shadetell_features_class_name(NULL, 0) == NULL);
    CHECK(shadetell_features_class_index(NULL, 0) == 0 && shadetell_features_class_probability(NULL, 0) == 0.0f);
    shadetell_model_free(NULL);
    shadetell_device_free(NULL);
    shadetell_error_free(NULL);
    CHECK(strcmp(shadetell_caption_text(NULL), "") == 0 && strcmp(shadetell_error_message(NULL), "") == 0);
    CHECK(shadetell_caption_word_count(NULL) == 0 && shadetell_caption_word(NULL, 0) == NULL);
    CHECK(shadetell_caption_confidence(NULL) == -1.0f);
    CHECK(shadetell_caption_log_prob(NULL) == 0.0f && shadetell_caption_word_log_prob(NULL, 0) == 0.0f);
    printf("all checks passed\n");
    return 0;
}
