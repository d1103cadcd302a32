/* Shade & Tell: looks at a photo and says what is in it. Generated from capi/src; see docs/host-integration.md.
 *
 * Pointers are null where that is said, or point to what their type says for as long as the call lasts; texts are UTF-8 and end
 * with a zero. A handle may be used by several threads at a time, of which those that caption wait for each other, and is freed
 * once, by the function that has its name and `_free`, when no call uses it any more; freeing null does nothing.
 *
 * A call that can fail writes to `*error`, unless `error` is null: null after success, else an error to be freed by the caller. */

#ifndef SHADETELL_H
#define SHADETELL_H

#include <stddef.h>
#include <stdint.h>

/*
 How a call ended.
 */
typedef enum {
  /*
   As asked.
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
   The machine has no such adapter, or the adapter gives no device.
   */
  SHADETELL_STATUS_DEVICE = 4,
  /*
   The device went away: make a captioner on a new one.
   */
  SHADETELL_STATUS_DEVICE_LOST = 5,
  /*
   The device has too little memory.
   */
  SHADETELL_STATUS_OUT_OF_MEMORY = 6,
  /*
   A mistake of the library, or of the driver.
   */
  SHADETELL_STATUS_INTERNAL = 7,
  /*
   The captioner is in use: the same call succeeds later.
   */
  SHADETELL_STATUS_BUSY = 8,
  /*
   The model or the photo is larger than a limit allows: use a smaller beam, a smaller photo, or another adapter.
   */
  SHADETELL_STATUS_LIMIT = 9,
} ShadetellStatus;

/*
 Which of a model's decoders speaks.
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
} ShadetellDecoder;

/*
 How a pixel lies in memory.
 */
typedef enum {
  /*
   Red, green and blue, a byte each.
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
 A sentence about a picture. What its functions give lives as long as it does.
 */
typedef struct ShadetellCaption ShadetellCaption;

/*
 A model made ready on a device.
 */
typedef struct ShadetellCaptioner ShadetellCaptioner;

/*
 A device. Captioners on it share kernels and weights, and keep it as long as they need it.
 */
typedef struct ShadetellDevice ShadetellDevice;

/*
 What went wrong in words.
 */
typedef struct ShadetellError ShadetellError;

/*
 A model: weights and vocabulary. Captioners that are made from it do not need it to stay.
 */
typedef struct ShadetellModel ShadetellModel;

/*
 How captions are searched. What is zero is the model's own choice.
 */
typedef struct {
  /*
   One of `ShadetellDecoder`.
   */
  uint32_t decoder;
  /*
   Hypotheses that are followed at a time; 1 is greedy search.
   */
  uint32_t beam;
  /*
   Most words in a caption, the end included.
   */
  uint32_t max_length;
} ShadetellOptions;

/*
 Pixels in memory, encoded as in a photo (sRGB), the first row uppermost.
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
   Bytes from one row to the next; 0 if there is nothing between rows.
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
 How strongly each cell of a grid was looked at for a word, row by row; they sum to 1. Null for a decoder without attention.
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
 Makes a model ready on a device, or, where `device` is null, for the slow reference on the CPU. Takes seconds: kernels are
 compiled. `options` may be null.
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
 Captions the bytes of a photo file (JPEG, PNG, WebP, GIF, BMP or TIFF), turned as its EXIF says, and waits for the caption.
 */
ShadetellStatus shadetell_caption_photo(const ShadetellCaptioner *captioner,
                                        const uint8_t *data,
                                        size_t len,
                                        ShadetellCaption **caption,
                                        ShadetellError **error);

/*
 Opens an adapter: the one whose name contains `adapter`, or has it as its number, or the best for null.
 */
ShadetellStatus shadetell_device_open(const char *adapter, ShadetellDevice **device, ShadetellError **error);

/*
 Frees a device.
 */
void shadetell_device_free(ShadetellDevice *device);

/*
 The message of an error, in UTF-8; it lives as long as the error.
 */
const char *shadetell_error_message(const ShadetellError *error);

/*
 Frees an error.
 */
void shadetell_error_free(ShadetellError *error);

/*
 Opens a model file, which `shadetell convert` writes. It is mapped into memory: replace it by renaming another file to
 its name. If it becomes shorter while it is open, the process ends with a signal (SIGBUS).
 */
ShadetellStatus shadetell_model_open(const char *path,
                                     ShadetellModel **model,
                                     ShadetellError **error);

/*
 Takes a model file that is in memory; the bytes are copied.
 */
ShadetellStatus shadetell_model_from_bytes(const uint8_t *data,
                                           size_t len,
                                           ShadetellModel **model,
                                           ShadetellError **error);

/*
 Gives the model that is part of the library, if it was built with one.
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
