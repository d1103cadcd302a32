//! The header of a safetensors file: which tensors lie where.

use super::Bytes;
use ::safetensors::SafeTensorError;
use ::safetensors::tensor::Metadata;

/// Longest header, as in the format's own reader.
const MAX_HEADER: u64 = 100_000_000;

/// Reads the header. The tensors lie behind it without gaps and fill the file exactly, with shapes and types that fit
/// their bytes. Gives the header with the offset at which the tensors begin.
///
/// # Errors
/// The file is not a whole safetensors file.
pub(crate) fn safetensors_header(file: &Bytes) -> Result<(Metadata, usize), SafeTensorError> {
    const LENGTH: usize = size_of::<u64>();
    let length = file.read_up_to(0, LENGTH).try_into().map_err(|_| SafeTensorError::HeaderTooSmall)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(SafeTensorError::HeaderTooLarge);
    }
    let data = LENGTH + length as usize;
    let header = file.read(LENGTH..data).ok_or(SafeTensorError::InvalidHeaderLength)?;
    let header = String::from_utf8(header).map_err(|e| SafeTensorError::InvalidHeader(e.utf8_error()))?;
    // Refuses tensors that overlap, leave gaps, or do not fit their bytes.
    let metadata: Metadata =
        serde_json::from_str(&header).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    if data.checked_add(metadata.data_len()) != Some(file.len()) {
        return Err(SafeTensorError::MetadataIncompleteBuffer);
    }
    Ok((metadata, data))
}
