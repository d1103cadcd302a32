/* Shade & Tell: captions photos. Generated from capi/src; see docs/host-integration.md.
 *
 * A pointer may be null only where this is stated. It has to point to a value of its type for as long as the call lasts. Texts
 * are UTF-8 and end with a zero. Several threads may use a handle at a time; threads that caption take turns. Free each handle
 * once, with the function of its name that ends with `_free`, when no call uses it any more. Freeing null does nothing.
 *
 * A call that can fail writes to `*error`, unless `error` is null: null after success, or else an error for the caller to free. */

#ifndef SHADETELL_H
#define SHADETELL_H

#include <stddef.h>
#include <stdint.h>

/*
 The outcome of a call.
 */
typedef enum {
  /*
   Success.
   */
  SHADETELL_STATUS_OK = 0,
  /*
   An argument is null, out of range, or not UTF-8.
   */
  SHADETELL_STATUS_INVALID_ARGUMENT = 1,
  /*
   The model file cannot be read or used.
   */
  SHADETELL_STATUS_MODEL = 2,
  /*
   The photo cannot be read or used.
   */
  SHADETELL_STATUS_IMAGE = 3,
  /*
   The machine has no such adapter, or the adapter cannot open a device.
   */
  SHADETELL_STATUS_DEVICE = 4,
  /*
   The device was lost: make a captioner on a new one.
   */
  SHADETELL_STATUS_DEVICE_LOST = 5,
  /*
   The device has too little memory.
   */
  SHADETELL_STATUS_OUT_OF_MEMORY = 6,
  /*
   A bug in the library or in the driver.
   */
  SHADETELL_STATUS_INTERNAL = 7,
  /*
   The captioner is in use: try again later.
   */
  SHADETELL_STATUS_BUSY = 8,
  /*
   The model or the photo is larger than a limit allows: use a smaller beam, a smaller photo, or another adapter.
   */
  SHADETELL_STATUS_LIMIT = 9,
} ShadetellStatus;

/*
 A decoder of a model.
 */
typedef enum {
  /*
   The model's own choice.
   */
  SHADETELL_DECODER_DEFAULT = 0,
  /*
   "Show and Tell".
   */
  SHADETELL_DECODER_SHOW_TELL = 1,
  /*
   "Show, Attend and Tell".
   */
  SHADETELL_DECODER_SHOW_ATTEND_TELL = 2,
  /*
   Semantic attention.
   */
  SHADETELL_DECODER_SEMANTIC_ATTENTION = 3,
} ShadetellDecoder;

/*
 The memory layout of a pixel.
 */
typedef enum {
  /*
   Red, green and blue, one byte each.
   */
  SHADETELL_PIXEL_FORMAT_RGB8 = 0,
  /*
   Red, green, blue, and a byte that is ignored.
   */
  SHADETELL_PIXEL_FORMAT_RGBA8 = 1,
  /*
   Blue, green, red, and a byte that is ignored.
   */
  SHADETELL_PIXEL_FORMAT_BGRA8 = 2,
} ShadetellPixelFormat;

/*
 A sentence about a picture. Pointers that its functions return are valid until it is freed.
 */
typedef struct ShadetellCaption ShadetellCaption;

/*
 A model that is prepared on a device.
 */
typedef struct ShadetellCaptioner ShadetellCaptioner;

/*
 A device. Captioners on it share kernels and weights. It may be freed before them.
 */
typedef struct ShadetellDevice ShadetellDevice;

/*
 A model's encoder that is prepared on a device.
 */
typedef struct ShadetellEncoder ShadetellEncoder;

/*
 An error with a message.
 */
typedef struct ShadetellError ShadetellError;

/*
 What an encoder makes of a picture. Pointers that its functions return are valid until it is freed.
 */
typedef struct ShadetellFeatures ShadetellFeatures;

/*
 A model: weights and vocabulary. It may be freed before the captioners that were made from it.
 */
typedef struct ShadetellModel ShadetellModel;

/*
 How captions are searched. Zero means the model's own choice.
 */
typedef struct {
  /*
   One of `ShadetellDecoder`.
   */
  uint32_t decoder;
  /*
   Number of hypotheses in the beam; 1 is greedy search.
   */
  uint32_t beam;
  /*
   Most words in a caption, including the end token.
   */
  uint32_t max_length;
} ShadetellOptions;

/*
 Pixels in memory, encoded as in a photo (sRGB), with the first row at the top.
 */
typedef struct {
  /*
   The first pixel.
   */
  const uint8_t *pixels;
  /*
   Pixels in a row.
   */
  uint32_t width;
  /*
   Rows.
   */
  uint32_t height;
  /*
   Bytes from one row to the next; 0 if rows have no padding.
   */
  size_t bytes_per_row;
  /*
   One of `ShadetellPixelFormat`.
   */
  uint32_t format;
} ShadetellPicture;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of the library, such as "0.1.0".
 */
const char *shadetell_version(void);

/*
 The sentence, in UTF-8.
 */
const char *shadetell_caption_text(const ShadetellCaption *caption);

/*
 The natural logarithm of its probability.
 */
float shadetell_caption_log_prob(const ShadetellCaption *caption);

/*
 The probability that its main subject is right, from 0 to 1; -1 for a model whose sentences were not judged.
 */
float shadetell_caption_confidence(const ShadetellCaption *caption);

/*
 The number of its words.
 */
size_t shadetell_caption_word_count(const ShadetellCaption *caption);

/*
 A word, in UTF-8; null if no word has this number.
 */
const char *shadetell_caption_word(const ShadetellCaption *caption, size_t index);

/*
 The natural logarithm of a word's probability after the words before it.
 */
float shadetell_caption_word_log_prob(const ShadetellCaption *caption, size_t index);

/*
 The attention of a word on each cell of a grid, row by row; the cells sum to 1. Null for a decoder without attention.
 `rows` and `columns` may be null.
 */
const float *shadetell_caption_attention(const ShadetellCaption *caption,
                                         size_t index,
                                         size_t *rows,
                                         size_t *columns);

/*
 Frees a caption.
 */
void shadetell_caption_free(ShadetellCaption *caption);

/*
 Prepares a model on a device, or, if `device` is null, on all cores of the CPU, which are faster than a software adapter.
 On a device it takes seconds, because kernels are compiled. `options` may be null.
 */
ShadetellStatus shadetell_captioner_new(const ShadetellModel *model,
                                        const ShadetellDevice *device,
                                        const ShadetellOptions *options,
                                        ShadetellCaptioner **captioner,
                                        ShadetellError **error);

/*
 Frees a captioner.
 */
void shadetell_captioner_free(ShadetellCaptioner *captioner);

/*
 Captions pixels and waits for the caption.
 */
ShadetellStatus shadetell_caption_picture(const ShadetellCaptioner *captioner,
                                          const ShadetellPicture *picture,
                                          ShadetellCaption **caption,
                                          ShadetellError **error);

/*
 Captions the bytes of a photo file (JPEG, PNG, WebP, GIF, BMP or TIFF), with its EXIF orientation applied, and waits for the
 caption.
 */
ShadetellStatus shadetell_caption_photo(const ShadetellCaptioner *captioner,
                                        const uint8_t *data,
                                        size_t len,
                                        ShadetellCaption **caption,
                                        ShadetellError **error);

/*
 Opens an adapter. `adapter` is part of its name, or its number in the list of `shadetell devices`; null means the best one.
 */
ShadetellStatus shadetell_device_open(const char *adapter,
                                      ShadetellDevice **device,
                                      ShadetellError **error);

/*
 Frees a device.
 */
void shadetell_device_free(ShadetellDevice *device);

/*
 Prepares a model's encoder on a device, or, if `device` is null, on the CPU.
 */
ShadetellStatus shadetell_encoder_new(const ShadetellModel *model,
                                      const ShadetellDevice *device,
                                      ShadetellEncoder **encoder,
                                      ShadetellError **error);

/*
 Frees an encoder.
 */
void shadetell_encoder_free(ShadetellEncoder *encoder);

/*
 Encodes pixels and waits for the features.
 */
ShadetellStatus shadetell_encode_picture(const ShadetellEncoder *encoder,
                                         const ShadetellPicture *picture,
                                         ShadetellFeatures **features,
                                         ShadetellError **error);

/*
 Encodes the bytes of a photo file, as `shadetell_caption_photo` reads them.
 */
ShadetellStatus shadetell_encode_photo(const ShadetellEncoder *encoder,
                                       const uint8_t *data,
                                       size_t len,
                                       ShadetellFeatures **features,
                                       ShadetellError **error);

/*
 The embedding of the picture: as many numbers as the encoder has channels. `count` may be null.
 */
const float *shadetell_features_embedding(const ShadetellFeatures *features, size_t *count);

/*
 The grid of features, `rows` x `columns` x `channels` numbers, channels innermost. The three places may be null.
 */
const float *shadetell_features_grid(const ShadetellFeatures *features,
                                     size_t *rows,
                                     size_t *columns,
                                     size_t *channels);

/*
 The number of classes of the model's classifier; 0 without one.
 */
size_t shadetell_features_class_count(const ShadetellFeatures *features);

/*
 The name of the class with this rank, 0 being the most probable, in UTF-8; null if there is none.
 */
const char *shadetell_features_class_name(const ShadetellFeatures *features, size_t rank);

/*
 The number of the class with this rank among all classes; 0 if there is none.
 */
size_t shadetell_features_class_index(const ShadetellFeatures *features, size_t rank);

/*
 The probability of the class with this rank; 0 if there is none.
 */
float shadetell_features_class_probability(const ShadetellFeatures *features, size_t rank);

/*
 Frees features.
 */
void shadetell_features_free(ShadetellFeatures *features);

/*
 The message of an error, in UTF-8; valid until the error is freed.
 */
const char *shadetell_error_message(const ShadetellError *error);

/*
 Frees an error.
 */
void shadetell_error_free(ShadetellError *error);

/*
 Opens a model file, such as one written by `shadetell convert`. The file is mapped into memory: to replace it, rename another
 file to its name. If it becomes shorter while it is open, the process ends with a signal (SIGBUS).
 */
ShadetellStatus shadetell_model_open(const char *path,
                                     ShadetellModel **model,
                                     ShadetellError **error);

/*
 Reads a model file that is in memory; the bytes are copied.
 */
ShadetellStatus shadetell_model_from_bytes(const uint8_t *data,
                                           size_t len,
                                           ShadetellModel **model,
                                           ShadetellError **error);

/*
 Opens the model that is part of the library, if the library was built with one.
 */
ShadetellStatus shadetell_model_bundled(ShadetellModel **model, ShadetellError **error);

/*
 Frees a model.
 */
void shadetell_model_free(ShadetellModel *model);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SHADETELL_H */
