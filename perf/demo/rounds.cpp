#include "demo/rounds.hpp"

namespace demo {

std::size_t run_rounds(const round_plan& plan, std::size_t count,
                       const std::function<void(std::size_t)>& run) {
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t round = 0;; ++round) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    // The next round will take as long as the others did.
    const bool fits = elapsed + elapsed / static_cast<double>(round == 0 ? 1 : round) <= plan.budget;
    const bool enough =
        plan.rounds != 0 ? round == plan.rounds : round == plan.most || (round >= plan.fewest && !fits);
    if (enough) return round;
    for (std::size_t position = 0; position < count; ++position) run((position + round) % count);
  }
}

}  // namespace demo
