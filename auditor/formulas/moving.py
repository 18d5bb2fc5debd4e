"""Operators that compute nothing, each with the reason.

Moving, casting and naming data is not arithmetic. What is moved between processes is not counted either: the
additions that a reduction over ranks performs on its way are done by the network library, on switches or on
other devices, and are seen by no process.
"""

from __future__ import annotations

from auditor.formulas.registry import free

_VIEWS = """
    _conj _neg_view alias as_strided detach diagonal expand permute real imag _reshape_alias select slice
    slice_inverse split split_with_sizes squeeze t transpose unbind unfold unsafe_split
    unsafe_split_with_sizes unsqueeze _unsafe_view view view_as view_as_complex view_as_real view_as_real_copy
    expand_as lift lift_fresh lift_fresh_copy mT mH numpy_T _fw_primal _make_dual narrow indices values
    ccol_indices col_indices crow_indices row_indices _indices _values _nested_view_from_buffer
    _nested_view_from_jagged _nested_get_values _nested_get_offsets _nested_get_lengths _nested_get_ragged_idx
    _nested_get_values_copy _nested_view_from_buffer_copy
    _nested_view_from_jagged_copy _nested_get_min_seqlen _nested_get_max_seqlen _nested_get_jagged_dummy
    _test_autograd_multiple_dispatch_view set set_ swapaxes swapdims movedim flatten unflatten ravel chunk
    tensor_split hsplit vsplit dsplit adjoint matrix_H reshape view_as_complex_copy _mkldnn_transpose
"""
_MOVES = """
    alias_copy as_strided_copy as_strided_scatter block_diag cat channel_shuffle clone complex _chunk_cat
    constant_pad_nd copy copy_ _copy_from _copy_from_and_resize detach_copy diag_embed diagonal_backward
    diagonal_copy diagonal_scatter _conj_copy _neg_view_copy expand_copy fill flip gather im2col index
    index_copy index_fill index_select int_repr _fw_primal_copy _lazy_clone _make_dual_copy masked_scatter
    masked_select max_unpool2d max_unpool3d narrow_copy native_channel_shuffle _pack_padded_sequence
    _padded_dense_to_jagged_forward _jagged_to_padded_dense_forward permute_copy _pin_memory pin_memory
    pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d _reshape_copy _reshape_alias_copy resize resize_as
    resize_as_ roll rot90 scatter select_backward select_copy select_scatter slice_backward slice_copy
    slice_scatter split_copy split_with_sizes_copy squeeze_copy stack _stack t_copy take _to_copy
    to_padded_tensor _nested_from_padded _nested_from_padded_tensor _nested_select_backward transpose_copy
    tril triu unbind_copy unfold_copy _unsafe_index unsqueeze_copy view_copy zero embedding upsample_nearest1d
    upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d nonzero nonzero_static to_mkldnn _mkldnn_reshape mkldnn_reorder_conv2d_weight
    mkldnn_reorder_conv3d_weight _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu
    _dyn_quant_pack_4bit_weight _cudnn_rnn_flatten_weight lu_unpack _nested_tensor_from_tensor_list
    _foreach_clone _foreach_copy _foreach_zero _nested_from_padded_and_nested_example _nested_tensor_from_mask
    _nested_sum_backward
"""
_SPARSE = """
    _coalesced _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo _indices_copy _values_copy
    ccol_indices_copy col_indices_copy copy_sparse_to_sparse crow_indices_copy indices_copy resize_as_sparse
    row_indices_copy sparse_compressed_tensor sparse_coo_tensor sparse_mask sparse_resize
    sparse_resize_and_clear values_copy _sparse_broadcast_to _sparse_broadcast_to_copy
    _sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors _sparse_mask_projection _spdiags
    _sparse_compressed_tensor_with_dims _sparse_sum_backward _cslt_compress _to_sparse_semi_structured
    _sparse_semi_structured_apply _sparse_semi_structured_apply_dense
    _to_dense _to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr
"""
_ALLOCATES = """
    empty empty_like empty_permuted empty_quantized empty_strided new_empty new_empty_strided _resize_output
    _efficientzerotensor _empty_affine_quantized _empty_per_channel_affine_quantized from_file
    _new_zeros_with_same_feature_meta _make_per_tensor_quantized_tensor _make_per_channel_quantized_tensor
"""
_WRITES = """
    eye full full_like new_full new_ones new_zeros ones ones_like scalar_tensor zeros zeros_like
    _cudnn_init_dropout_state
"""
_RANGES = """
    arange bartlett_window blackman_window fft_fftfreq fft_rfftfreq hamming_window hann_window kaiser_window
    linspace logspace range tril_indices triu_indices
"""
_ASKS = """
    _assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async _functional_assert_scalar
    _functional_sym_constrain_range _functional_sym_constrain_range_for_size _fused_sdp_choice
    _has_same_storage_numel _local_scalar_dense _make_dep_token _nested_tensor_size
    _nested_tensor_storage_offsets _nested_tensor_strides _nested_compute_contiguous_strides_offsets _nnz
    _dimI _dimV _print _use_cudnn_ctc_loss _use_miopen_ctc_loss dense_dim is_coalesced is_pinned is_same_size
    is_set_to item q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point
    qscheme record_stream sparse_dim sym_constrain_range size stride sym_constrain_range_for_size sym_numel
    sym_size sym_storage_offset sym_stride is_floating_point is_complex _linalg_check_errors
    _validate_compressed_sparse_indices _debug_has_internal_overlap numel dim storage_offset is_contiguous
    sym_is_contiguous
"""


_SHARDING = "all_gather_copy_in chunk_cat split_with_sizes_copy copy_"
_POOLING = "_alloc_from_pool _reinterpret_tensor resize_storage_bytes_"
_MARKS = "_record_function_enter _record_function_enter_new _record_function_exit"
_PROPERTIES = "device layout dtype itemsize data"


def _named(namespace: str, names: str) -> list[str]:
    return [f"{namespace}::{name}" for name in names.split()]


def _aten(names: str) -> list[str]:
    return _named("aten", names)


free(*_aten(_VIEWS), why="another name for the same data")
free(*_aten(_MOVES), why="data moved, cast or chosen by position, not computed")
free(*_aten(_SPARSE), why="sparse tensors made, converted and taken apart")
free(*_aten(_ALLOCATES), why="memory without content")
free(*_aten(_WRITES), why="a constant written")
free(*_aten(_RANGES), why="a fixed table written")
free(*_aten(_ASKS), why="a question about a tensor, or a check")

_C10D = """
    allreduce_ allreduce_coalesced_ allgather_ _allgather_base_ allgather_coalesced_ reduce_ reduce_scatter_
    allgather_into_tensor_coalesced_ _reduce_scatter_base_ reduce_scatter_tensor_coalesced_ broadcast_
    scatter_ gather_ send recv_ recv_any_source_ barrier monitored_barrier_ alltoall_ alltoall_base_
"""
_FUNCTIONAL = """
    all_reduce all_reduce_ all_reduce_coalesced all_reduce_coalesced_ all_gather_into_tensor broadcast
    broadcast_ all_gather_into_tensor_out all_gather_into_tensor_coalesced reduce_scatter_tensor
    reduce_scatter_tensor_out reduce_scatter_tensor_coalesced all_to_all_single wait_tensor isend irecv
    batch_p2p_ops _wrap_tensor_autograd
"""
_SYMMETRIC = """
    _barrier _rendezvous all_to_all_vdev all_to_all_vdev_2d all_to_all_vdev_2d_offset get_remote_tensors memset32_
    multi_root_tile_reduce multimem_all_gather_out multimem_all_reduce_ multimem_one_shot_all_reduce
    multimem_one_shot_all_reduce_out multimem_one_shot_reduce_out nccl_get nccl_put nccl_put_signal
    nccl_put_with_signal nccl_reduce_scatter_offset nccl_wait_for_signal nccl_wait_signal nvshmem_all_to_all
    nvshmem_broadcast nvshmem_get nvshmem_put nvshmem_put_with_signal nvshmem_wait_for_signal one_shot_all_reduce
    one_shot_all_reduce_copy one_shot_all_reduce_copy_out one_shot_all_reduce_out reduce_scatter_out
    stream_write_value32_ tile_reduce two_shot_all_reduce_ two_shot_all_reduce_out _low_contention_all_gather
    _low_contention_reduce_scatter
"""
_REORDERED = """
    _reorder_convolution_transpose_weight _reorder_convolution_weight _reorder_linear_weight
    _reorder_mkldnn_rnn_layer_weight _get_mkldnn_serialized_md _nbytes data_ptr
"""
_PRIMS = """
    _make_token _sink_tokens as_strided as_strided_scatter broadcast_in_dim cat clone collapse collapse_view conj
    convert_element_type copy_strided copy_to device_put empty empty_permuted empty_strided fill full full_like imag
    inductor_force_stride_order inductor_lookup_seed inductor_rand_eager_offset inductor_rand_eager_offsets
    inductor_seed inductor_seeds iota item maximum_value minimum_value real reshape resize rev scalar_tensor
    split_dim squeeze transpose view_of view_of_dtype _low_memory_max_pool_offsets_to_indices
"""
_STATIC = """
    VarTupleUnpack create_owned_ref dict_unpack expand_dims_copy flatten_copy fused_equally_split permute_copy
    reshape_copy select_tensor to_copy to_maybe_copy_out
"""

_PACKED = """
    conv1d_prepack conv2d_prepack conv3d_prepack conv_prepack conv_transpose1d_prepack conv_transpose2d_prepack
    conv_transpose3d_prepack linear_prepack linear_prepack_fp16 linear_prepack_legacy linear_prepack_fp16_legacy
    linear_unpack linear_unpack_fp16 make_quantized_cell_params make_quantized_cell_params_dynamic
    embedding_bag_prepack
"""

_NETWORK = "data between processes; what the network adds up on the way is seen by no process"

free(*_named("c10d", _C10D), why=_NETWORK)
free(*_named("_c10d_functional", _FUNCTIONAL), why=_NETWORK)
free(*_named("_c10d_functional_autograd", _FUNCTIONAL), why=_NETWORK)
free(*_named("c10d_functional", _FUNCTIONAL), why=_NETWORK)
free(*_named("fsdp", _SHARDING), why="data moved for sharding")
free(*_named("inductor", _POOLING), why="memory named anew")
free(*_named("profiler", _MARKS), why="a mark for the profiler")
free(*_named("prim", _PROPERTIES), why="a question about a tensor")
free(*_named("symm_mem", _SYMMETRIC), "_dtensor::shard_dim_alltoall", "_dtensor::mesh_get_process_group", why=_NETWORK)
free(*_named("mkldnn", _REORDERED), "mkl::_mkl_reorder_linear_weight", why="a weight in another order")
free("onednn::qlinear_prepack", "onednn::qconv_prepack", "onednn::linear_prepack_fp16", why="a weight in another order")
free(*_named("prims", _PRIMS), why="data moved, named, or filled with a constant")
free(*_named("static_runtime", _STATIC), why="data moved or named")
free("inductor_prims::inductor_reserve_rng_state", "debugprims::load_tensor", why="data read from elsewhere")
free("c10d::check_for_nan", why="a check")
free("quantization::_Bfloat16QuantizedToFloat", why="cast")
free(*_named("quantized", _PACKED), *_named("_quantized", _PACKED), why="a weight packed, its numbers as they are")
free("debug_mode_ops::annotate", "export::access_subclass_inner_tensor", why="a mark, or another name")
