// Rows of bf16 logits to the loss of each row, and in place to the gradient of the weighted sum.
//
// What it computes is written in cross_entropy_rows.py; this file reads each row once. A row of 122,816 logits is 245 KB, about all
// the registers of a multiprocessor, so a cluster of CLUSTER blocks takes a row: each thread loads its VECTORS vectors of eight
// logits, all at once, and keeps them in registers until their gradient is written. The blocks exchange one pair of figures, maximum and sum, over
// distributed shared memory.
//
// Compiled at run time; CLUSTER, THREADS, VECTORS, GRADIENT and RESIDENT, the blocks a multiprocessor is to hold, are given as
// macros. No header is needed.

typedef unsigned int u32;
typedef unsigned short u16;
typedef long long i64;

struct Vector { u32 x, y, z, w; };   // eight bf16
struct Partial { float top, others; };   // of a block, the target left out: its largest logit, and its sum of exp(scale (logit - top))

typedef float PerWarp[32];   // a figure of each warp of a block

#define WARPS (THREADS / 32)
#define LOG2E 1.4426950408889634f
#define MINUS_INFINITY float_of(0xff800000u)
#define COLUMN(v) ((int)(((v) * CLUSTER + rank) * THREADS + THREAD) * 8)   // of the first of a thread's v-th eight logits

#ifndef EMULATED  // what the hardware gives
#define THREAD threadIdx.x
#define BLOCK_INDEX blockIdx.x
#define SHARED(type, name) __shared__ type name

__device__ __forceinline__ u32 cluster_rank() { u32 rank; asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)); return rank; }
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
__device__ __forceinline__ void block_barrier() { __syncthreads(); }
__device__ __forceinline__ float of_neighbour(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
__device__ __forceinline__ float exp2_fast(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }

__device__ __forceinline__ Vector load(const u16* at) {
    Vector v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at) : "memory");
    return v;
}
__device__ __forceinline__ void store(u16* at, Vector v) {
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" :: "l"(at), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
__device__ __forceinline__ float float_of(u32 high_half) { return __int_as_float(high_half); }
__device__ __forceinline__ u32 pack(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
// The same shared variable in another block of the cluster.
__device__ __forceinline__ Partial of_block(const Partial* mine, u32 rank) {
    u32 here = (u32)__cvta_generic_to_shared(mine), there;
    Partial p;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(p.top) : "r"(there) : "memory");
    asm volatile("ld.shared::cluster.f32 %0, [%1+4];" : "=f"(p.others) : "r"(there) : "memory");
    return p;
}
#endif

__device__ __forceinline__ u32& pair_of(Vector& v, int k) { return k < 2 ? v.x : k < 4 ? v.y : k < 6 ? v.z : v.w; }

__device__ __forceinline__ float logit(Vector& v, int k) { return float_of(k & 1 ? pair_of(v, k) & 0xffff0000u : pair_of(v, k) << 16); }

// Element k becomes minus infinity: no part of any sum.
__device__ __forceinline__ void leave_out(Vector& v, int k) {
    u32& pair = pair_of(v, k);
    pair = k & 1 ? (pair & 0x0000ffffu) | 0xff800000u : (pair & 0xffff0000u) | 0x0000ff80u;
}

// A logit that is not a number does not show in a maximum, but in the sum that follows.
__device__ float block_top(float value, float* of_warp) {
    for (int mask = 16; mask; mask >>= 1) value = fmaxf(value, of_neighbour(value, mask));
    if (THREAD % 32 == 0) of_warp[THREAD / 32] = value;
    block_barrier();
    value = THREAD % 32 < WARPS ? of_warp[THREAD % 32] : MINUS_INFINITY;
    for (int mask = 16; mask; mask >>= 1) value = fmaxf(value, of_neighbour(value, mask));
    return value;
}

__device__ float block_sum(float value, float* of_warp) {
    for (int mask = 16; mask; mask >>= 1) value += of_neighbour(value, mask);
    if (THREAD % 32 == 0) of_warp[THREAD / 32] = value;
    block_barrier();
    value = THREAD % 32 < WARPS ? of_warp[THREAD % 32] : 0.0f;
    for (int mask = 16; mask; mask >>= 1) value += of_neighbour(value, mask);
    return value;
}

#ifndef EMULATED
extern "C" __global__ __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, RESIDENT)
#endif
void cross_entropy_rows(u16* logits, const i64* targets, const float* weights, float* nll, float* lse, i64 stride, int vocab, int padded,
                        float scale, float zeta) {
    SHARED(PerWarp, tops);
    SHARED(PerWarp, sums);
    SHARED(Partial, partial);
    const u32 rank = cluster_rank();
    const i64 row = BLOCK_INDEX / CLUSTER;
    u16* z = logits + row * stride;
    const i64 target = targets[row];
    const bool counted = target >= 0 && target < vocab;
    const float weight = counted ? weights[row] : 0.0f;
    const float z_target = counted ? float_of((u32)z[target] << 16) : MINUS_INFINITY;
    const float to_bits = scale * LOG2E;   // exp(scale x) = exp2(to_bits x)

    Vector kept[VECTORS];
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        const int at = COLUMN(v);
        kept[v] = at < padded ? load(z + at) : Vector{0xff80ff80u, 0xff80ff80u, 0xff80ff80u, 0xff80ff80u};
    }
    float top = MINUS_INFINITY;
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        const int at = COLUMN(v);
        if (at + 8 > vocab || (target >= at && target < at + 8)) {   // padding, and the target, which is counted apart
#pragma unroll
            for (int k = 0; k < 8; k++)
                if (at + k >= vocab || at + k == target) leave_out(kept[v], k);
        }
#pragma unroll
        for (int k = 0; k < 8; k++) top = fmaxf(top, logit(kept[v], k));
    }
    top = block_top(top, tops);
    const float base = top == MINUS_INFINITY ? 0.0f : top;
    float others = 0.0f;
#pragma unroll
    for (int v = 0; v < VECTORS; v++)
#pragma unroll
        for (int k = 0; k < 8; k++) others += exp2_fast((logit(kept[v], k) - base) * to_bits);
    others = block_sum(others, sums);
    if (THREAD == 0) partial = Partial{top, others};
    cluster_arrive();
    cluster_wait();
    Partial of[CLUSTER];
#pragma unroll
    for (u32 r = 0; r < CLUSTER; r++) of[r] = of_block(&partial, r);
    cluster_arrive();   // waited for at the end: no block may leave while another reads its figures
    float m = z_target;
#pragma unroll
    for (u32 r = 0; r < CLUSTER; r++) m = fmaxf(m, of[r].top);
    float rest = 0.0f;
#pragma unroll
    for (u32 r = 0; r < CLUSTER; r++) rest += of[r].others * exp2f((of[r].top - m) * to_bits);
    const float e_target = counted ? exp2f((z_target - m) * to_bits) : 0.0f;
    const float total = rest + e_target;
    const float log_sum = m * scale + logf(total);
    if (THREAD == 0 && rank == 0) {
        nll[row] = !counted ? 0.0f : z_target == m ? log1pf(rest) : (m - z_target) * scale + logf(total);
        lse[row] = counted ? log_sum : 0.0f;
    }
#if GRADIENT
    const float more = 2.0f * zeta * log_sum;
    const float factor = weight * scale / total * (1.0f + more);
    const float own = weight * scale / total * (more * e_target - rest);
#pragma unroll
    for (int v = 0; v < VECTORS; v++) {
        const int at = COLUMN(v);
        float g[8];
#pragma unroll
        for (int k = 0; k < 8; k++) g[k] = factor * exp2_fast((logit(kept[v], k) - m) * to_bits);
        Vector gradient{pack(g[0], g[1]), pack(g[2], g[3]), pack(g[4], g[5]), pack(g[6], g[7])};
        if (weight == 0.0f) gradient = Vector{0, 0, 0, 0};   // whatever the logits were
        if (at < padded) store(z + at, gradient);
        if (weight != 0.0f && target >= at && target < at + 8) z[target] = (u16)pack(own, 0.0f);
    }
#endif
    cluster_wait();
}
