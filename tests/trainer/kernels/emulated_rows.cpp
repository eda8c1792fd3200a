// cross_entropy_rows.cu on a CPU: every thread of a cluster is a thread here, every primitive of the hardware a few plain lines.
//
//     emulated ROWS STRIDE VOCAB PADDED SCALE ZETA < logits (bf16), targets (i64), weights (f32)  > logits, nll, lse

#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#define EMULATED 1
#define __device__
#define __forceinline__ inline

static thread_local int THREAD, BLOCK_INDEX;
static thread_local unsigned RANK;
struct Shared { float tops[32]; float sums[32]; float partial[2]; };
static Shared* shared_of_block;
static std::barrier<>* cluster_bar;
static std::vector<std::unique_ptr<std::barrier<>>> block_bars, warp_bars;
static std::vector<float> slots;

static unsigned cluster_rank() { return RANK; }
static void cluster_arrive() {}
static void cluster_wait() { cluster_bar->arrive_and_wait(); }
static void block_barrier() { block_bars[RANK]->arrive_and_wait(); }
static float of_neighbour(float value, int mask) {
    int here = (int)RANK * THREADS + THREAD, warp = here / 32;
    slots[here] = value;
    warp_bars[warp]->arrive_and_wait();
    float found = slots[here ^ mask];
    warp_bars[warp]->arrive_and_wait();
    return found;
}
static float exp2_fast(float x) { return exp2f(x); }
static float float_of(unsigned bits) { float f; memcpy(&f, &bits, 4); return f; }
static unsigned short rounded(float f) {  // to the nearest, ties to even
    unsigned bits; memcpy(&bits, &f, 4);
    if (f != f) return 0x7fff;
    return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
static unsigned pack(float low, float high) { return rounded(low) | (unsigned)rounded(high) << 16; }

struct Vector;
static Vector load(const unsigned short* at);
static void store(unsigned short* at, Vector v);
struct Partial;
static Partial of_block(const Partial* mine, unsigned rank);

#define SHARED(type, name) type& name = *reinterpret_cast<type*>(&shared_of_block[RANK].name)
#include SOURCE

static Vector load(const u16* at) { Vector v; memcpy(&v, at, 16); return v; }
static void store(u16* at, Vector v) { memcpy(at, &v, 16); }
static Partial of_block(const Partial*, u32 rank) { Partial p; memcpy(&p, shared_of_block[rank].partial, sizeof p); return p; }

template <class T> static std::vector<T> input(size_t count) {
    std::vector<T> found(count);
    if (fread(found.data(), sizeof(T), count, stdin) != count) exit(3);
    return found;
}

int main(int, char** word) {
    const int rows = atoi(word[1]), stride = atoi(word[2]), vocab = atoi(word[3]), padded = atoi(word[4]);
    const float scale = atof(word[5]), zeta = atof(word[6]);
    auto logits = input<u16>((size_t)rows * stride);
    auto targets = input<i64>(rows);
    auto weights = input<float>(rows);
    std::vector<float> nll(rows), lse(rows);
    const int threads = CLUSTER * THREADS;
    std::barrier<> all(threads);
    cluster_bar = &all;
    slots.resize(threads);
    for (int b = 0; b < CLUSTER; b++) block_bars.push_back(std::make_unique<std::barrier<>>(THREADS));
    for (int w = 0; w < threads / 32; w++) warp_bars.push_back(std::make_unique<std::barrier<>>(32));
    std::vector<Shared> memory(CLUSTER);
    shared_of_block = memory.data();
    std::vector<std::thread> running;
    for (int t = 0; t < threads; t++)
        running.emplace_back([&, t] {
            THREAD = t % THREADS, RANK = t / THREADS;
            for (int row = 0; row < rows; row++) {
                BLOCK_INDEX = row * CLUSTER + RANK;
                cross_entropy_rows(logits.data(), targets.data(), weights.data(), nll.data(), lse.data(), stride, vocab, padded, scale, zeta);
                all.arrive_and_wait();
            }
        });
    for (auto& thread : running) thread.join();
    fwrite(logits.data(), 2, logits.size(), stdout);
    fwrite(nll.data(), 4, rows, stdout);
    fwrite(lse.data(), 4, rows, stdout);
}
