# An experiment client with nothing but Ruby's standard library: arguments are the base URL, the key, the flag and the experiment.
require "json"
require "net/http"

BASE, KEY, FLAG, EXPERIMENT = ARGV

def call(path, body)
  answer = Net::HTTP.post(URI(BASE + path), body.to_json, "Authorization" => "Bearer #{KEY}", "Content-Type" => "application/json")
  raise "#{path}: #{answer.code} #{answer.body}" unless answer.is_a?(Net::HTTPSuccess)
  JSON.parse(answer.body)
end

flagged = call("/ofrep/v1/evaluate/flags/#{FLAG}", { context: { targetingKey: "u1" } })
stored = call("/api/v1/events/batch", { events: 3.times.map { |n| { user_id: "u#{n}", event_type: "view", experiment_id: EXPERIMENT } } })
puts({ value: flagged["value"], processed: stored["data"]["processed"] }.to_json)
